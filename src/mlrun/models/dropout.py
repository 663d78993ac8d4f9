"""Dropout with masks that depend on the position of a row, so that any step is repeatable exactly.

The mask of a number is a function of (seed, epoch, layer), the position of the row in the order of
the epoch, and the column. The native kernel computes the same masks.
"""

import numpy as np
import torch
from torch import Tensor, nn

from mlrun.system.random import counter_seed

_LOW = 0xFFFFFFFF


class Dropout(nn.Module):
    """Sets each number of (n, …) to 0 with probability `share` and scales the others up.

    `begin_epoch` selects the masks of an epoch; every training batch advances by its rows.
    """

    counters: Tensor  # low and high half of the epoch's key, number of rows so far

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self._kept = float(np.float32(1 / (1 - share)))
        self.register_buffer("counters", torch.zeros(3, dtype=torch.int64), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply the mask while training; otherwise return the inputs unchanged."""
        if not self.training:
            return inputs
        flat = inputs.flatten(1)
        mask = self._mask(*flat.shape)
        self.counters[2] += len(flat)
        return (flat * mask).view_as(inputs)

    def _mask(self, rows: int, columns: int) -> Tensor:
        """Return the mask (rows, columns): 0 or 1 / (1 - share)."""
        key_low, key_high, first = self.counters
        row = first + torch.arange(rows, device=self.counters.device)
        row_key = _mixed((_mixed(key_low ^ (row & _LOW)) + key_high + (row >> 32)) & _LOW)
        column = torch.arange(columns, device=self.counters.device) * 0x9E3779B9 & _LOW
        random = _mixed((column + row_key[:, None]) & _LOW)
        dropped_below = min(round(self.share * 2**32), _LOW)
        return (random >= dropped_below) * self._kept

    def extra_repr(self) -> str:
        """Return the text for printing the model."""
        return f"share={self.share}"


def _mixed(x: Tensor) -> Tensor:
    """Hash 32 bits, stored as int64, by a bijection (lowbias32, C. Wellons)."""
    x = (x ^ (x >> 16)) * 0x7FEB352D & _LOW
    x = (x ^ (x >> 15)) * 0x846CA68B & _LOW
    return x ^ (x >> 16)


def epoch_keys(seed: int, epoch: int, count: int) -> list[int]:
    """Return a key for each of the `count` dropout layers in an epoch."""
    return [counter_seed(seed, epoch, layer) for layer in range(count)]


def begin_epoch(model: nn.Module, seed: int, epoch: int) -> None:
    """Set the dropout layers of the model to the masks for the start of this epoch."""
    layers = [layer for layer in model.modules() if isinstance(layer, Dropout)]
    for layer, key in zip(layers, epoch_keys(seed, epoch, len(layers)), strict=True):
        layer.counters.copy_(torch.tensor([key & _LOW, key >> 32, 0]))
