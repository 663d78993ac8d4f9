"""Shared by contestants that use torch: network, loss, optimizer, logging of an epoch."""

import tempfile
from itertools import pairwise
from pathlib import Path

import torch
from contestant import Heat, Laps
from jobs import Job
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter


def network(job: Job) -> nn.Sequential:
    """Return the network of the job with torch's default initial weights."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    depth, sizes = 1, list(job.sizes)
    for channels in job.channels:
        layers += [nn.Conv2d(depth, channels, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)]
        depth = channels
    if job.channels:
        sizes[0] = depth * (28 >> len(job.channels)) ** 2
    layers.append(nn.Flatten())
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def loss_of(job: Job) -> nn.Module:
    """Return the loss of the job."""
    return nn.MSELoss() if job.loss == "mse" else nn.CrossEntropyLoss()


def optimizer_of(job: Job, model: nn.Module) -> torch.optim.Optimizer:
    """Return SGD with momentum."""
    return torch.optim.SGD(model.parameters(), lr=job.rate, momentum=job.momentum)


def tensors(heat: Heat) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training inputs and targets, validation inputs and targets."""
    parts = (heat.train, heat.valid)
    first, second, third, fourth = (
        torch.from_numpy(array) for part in parts for array in (part.inputs, part.targets)
    )
    return first, second, third, fourth


class Book:
    """Writes the TensorBoard scalars and the best checkpoint of each epoch."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.laps = Laps()
        self.writer = SummaryWriter(self.folder)

    def write(self, model: nn.Module, train: float, valid: float) -> None:
        """Write the results of an epoch."""
        epoch = len(self.laps.losses) + 1
        self.writer.add_scalar("train/loss", train, epoch)
        self.writer.add_scalar("valid/loss", valid, epoch)
        if valid < min(self.laps.losses, default=float("inf")):
            torch.save(model.state_dict(), self.folder / "best.pt")
        self.laps.add(valid)
