"""Dropout whose masks follow from where a row stands, so that any step can be repeated exactly.

The mask of a number is a function of (seed, epoch, layer), the row's place in its epoch's order and
the column. `native/kernel.cpp` computes the same masks.
"""

import numpy as np
import torch
from torch import Tensor, nn

from mlrun.system.random import counter_seed

_LOW = 0xFFFFFFFF


class Dropout(nn.Module):
    """Drops each number of (n, …) with probability `share`, and scales the others up.

    `begin_epoch` says which masks; every training batch moves on by its rows.
    """

    counters: Tensor  # low and high half of the epoch's key, the epoch's rows so far

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self._kept = float(np.float32(1 / (1 - share)))
        self.register_buffer("counters", torch.zeros(3, dtype=torch.int64), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """The inputs as they are, except while training."""
        if not self.training:
            return inputs
        flat = inputs.flatten(1)
        mask = self._mask(*flat.shape)
        self.counters[2] += len(flat)
        return (flat * mask).view_as(inputs)

    def _mask(self, rows: int, columns: int) -> Tensor:
        """(rows, columns): 0 or 1 / (1 - share)."""
        key_low, key_high, first = self.counters
        row = first + torch.arange(rows, device=self.counters.device)
        row_key = _mixed((_mixed(key_low ^ (row & _LOW)) + key_high + (row >> 32)) & _LOW)
        column = torch.arange(columns, device=self.counters.device) * 0x9E3779B9 & _LOW
        random = _mixed((column + row_key[:, None]) & _LOW)
        dropped_below = min(round(self.share * 2**32), _LOW)
        return (random >= dropped_below) * self._kept

    def extra_repr(self) -> str:
        """Shown when the model is printed."""
        return f"share={self.share}"


def _mixed(x: Tensor) -> Tensor:
    """A bijection of 32 bits, kept in int64, without visible pattern (lowbias32, C. Wellons)."""
    x = (x ^ (x >> 16)) * 0x7FEB352D & _LOW
    x = (x ^ (x >> 15)) * 0x846CA68B & _LOW
    return x ^ (x >> 16)


def epoch_keys(seed: int, epoch: int, count: int) -> list[int]:
    """A key for each of `count` dropout layers of one epoch of one run."""
    return [counter_seed(seed, epoch, layer) for layer in range(count)]


def begin_epoch(model: nn.Module, seed: int, epoch: int) -> None:
    """Give the model's dropout layers, first to last, the masks of this epoch's first rows."""
    layers = [layer for layer in model.modules() if isinstance(layer, Dropout)]
    for layer, key in zip(layers, epoch_keys(seed, epoch, len(layers)), strict=True):
        layer.counters.copy_(torch.tensor([key & _LOW, key >> 32, 0]))
