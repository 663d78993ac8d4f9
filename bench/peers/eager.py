"""A hand-written torch loop: rows in memory, batches by index, one `.item()` per epoch."""

import torch
from contestant import Heat, Laps, answer, heat
from in_torch import Book, loss_of, network, optimizer_of, tensors


def train(job: Heat) -> Laps:
    """Train all epochs."""
    inputs, targets, valid_inputs, valid_targets = tensors(job)
    model, criterion, book = network(job.job), loss_of(job.job), Book()
    optimizer = optimizer_of(job.job, model)
    for _ in range(job.epochs):
        total = torch.zeros(())
        for batch in torch.randperm(len(inputs)).split(job.job.batch):
            optimizer.zero_grad()
            loss = criterion(model(inputs[batch]), targets[batch])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
        with torch.inference_mode():
            parts = zip(valid_inputs.split(256), valid_targets.split(256), strict=True)
            valid = sum(float(criterion(model(x), y)) * len(x) for x, y in parts)
        book.write(model, total.item() / len(inputs), valid / len(valid_inputs))
    return book.laps


def load(job: Heat) -> Laps:
    """Only select the batches, as mlrun does."""
    inputs, targets, *_ = tensors(job)
    laps = Laps()
    for _ in range(job.epochs):
        order = torch.randperm(len(inputs)).split(job.job.batch)
        laps.add(sum(len(inputs[batch]) + len(targets[batch]) for batch in order))
    return laps


if __name__ == "__main__":
    this = heat("loading")
    done = load(this) if this.options.loading else train(this)
    answer(this, done.seconds, done.losses)
