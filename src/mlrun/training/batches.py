"""Which rows make a batch: a function of (seed, epoch) alone, so any epoch can be repeated."""

import torch
from torch import Tensor

from mlrun.system.random import counter_seed


def batch_sizes(count: int, batch_size: int) -> list[int]:
    """How many rows each batch has; a last batch of one row joins the one before it.

    Batch norm has no variance over a single row, and a step on one row is mostly noise.
    """
    full, rest = divmod(count, batch_size)
    sizes = [batch_size] * full
    if rest == 1 and full and batch_size > 1:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def row_order(count: int, *, seed: int, epoch: int, shuffle: bool) -> Tensor:
    """(count,) int64 on the CPU: the rows of an epoch in the order they are trained on.

    Args:
        count: rows to draw from.
        seed: of the run.
        epoch: from 1; each has its own order.
        shuffle: false gives the rows in their own order.
    """
    if not shuffle:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(counter_seed(seed, epoch))
    return torch.randperm(count, generator=generator)
