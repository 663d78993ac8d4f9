"""The rows of each batch: a function of (seed, epoch) only, so any epoch is repeatable."""

import torch
from torch import Tensor

from mlrun.system.random import counter_seed


def batch_sizes(count: int, batch_size: int) -> list[int]:
    """Return the number of rows per batch; a last batch of one row joins the previous one.

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
    """Return the training order of an epoch: (count,) int64 row numbers on the CPU.

    Args:
        count: number of rows.
        seed: the seed of the run.
        epoch: from 1; each epoch has its own order.
        shuffle: if false, return the rows in file order.
    """
    if not shuffle:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(counter_seed(seed, epoch))
    return torch.randperm(count, generator=generator)
