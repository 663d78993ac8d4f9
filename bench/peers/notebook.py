"""The loop of the homework notebook: Dataset, DataLoader, `.item()` and a progress bar per step."""

from typing import Any

import numpy as np
import torch
from contestant import Heat, Laps, answer, heat
from in_torch import Book, loss_of, network, optimizer_of
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm


class Table(Dataset):
    """Rows of a table."""

    def __init__(self, inputs: Any, targets: Any) -> None:
        self.inputs, self.targets = torch.FloatTensor(inputs), torch.from_numpy(targets)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.targets[index]

    def __len__(self) -> int:
        return len(self.inputs)


class Pictures(Dataset):
    """Images that are transformed at every access, like torchvision's MNIST.

    To PIL, ToTensor, Normalize, step by step as torchvision does them; torchvision itself would tie
    the benchmark to builds of torch that it was made for.
    """

    def __init__(self, inputs: Any, targets: Any) -> None:
        low, high = float(inputs.min()), float(inputs.max())
        pixels = np.round((inputs[:, 0] - low) / (high - low) * 255).astype(np.uint8)
        self.images, self.targets = torch.from_numpy(pixels), torch.from_numpy(targets)
        self.mean, self.deviation = -low / (high - low), 1 / (high - low)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.images[index].numpy())
        pixels = torch.from_numpy(np.array(image, np.uint8, copy=True))
        pixels = pixels.view(*image.size[::-1], 1).permute(2, 0, 1).contiguous()
        picture = pixels.to(torch.float32).div(255).clone()
        mean, deviation = torch.as_tensor([self.mean]), torch.as_tensor([self.deviation])
        picture.sub_(mean.view(-1, 1, 1)).div_(deviation.view(-1, 1, 1))
        return picture, int(self.targets[index])

    def __len__(self) -> int:
        return len(self.images)


def train(job: Heat, train_loader: DataLoader, valid_loader: DataLoader) -> Laps:
    """Train as the notebook does."""
    model, criterion, book = network(job.job), loss_of(job.job), Book()
    optimizer = optimizer_of(job.job, model)
    for epoch in range(job.epochs):
        model.train()
        record, bar = [], tqdm(train_loader, position=0, leave=True)
        for inputs, targets in bar:
            optimizer.zero_grad()
            loss = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            record.append(loss.detach().item())
            bar.set_description(f"Epoch [{epoch + 1}/{job.epochs}]")
            bar.set_postfix({"loss": loss.detach().item()})
        book.write(model, float(np.mean(record)), validate(model, criterion, valid_loader))
    return book.laps


def validate(model: Any, criterion: Any, loader: DataLoader) -> float:
    """Return the mean loss per row."""
    model.eval()
    total, rows = 0.0, 0
    for inputs, targets in loader:
        with torch.no_grad():
            total += criterion(model(inputs), targets).item() * len(targets)
        rows += len(targets)
    return total / rows


def load(job: Heat, loader: DataLoader) -> Laps:
    """Only iterate over the loader."""
    laps = Laps()
    for _ in range(job.epochs):
        laps.add(sum(len(inputs) for inputs, _ in loader))
    return laps


def main() -> None:
    """Train, or only load the batches."""
    job = heat("loading")
    kind = Pictures if job.train.inputs.ndim == 4 else Table
    parts = [kind(rows.inputs, rows.targets) for rows in (job.train, job.valid)]
    loaders = [DataLoader(part, batch_size=job.job.batch, shuffle=True) for part in parts]
    laps = load(job, loaders[0]) if job.options.loading else train(job, *loaders)
    answer(job, laps.seconds, laps.losses)


if __name__ == "__main__":
    main()
