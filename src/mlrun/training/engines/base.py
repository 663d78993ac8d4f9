"""The engine interface: an engine turns rows into gradients, steps and outputs.

There are three engines: `autograd.py` for any model on any device, `stacked.py` for members that
differ only in seed, rows and learning rate, and `native/` for multilayer perceptrons on the CPU.
All train members in place, epoch by epoch, with the same row order and the same dropout masks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from mlrun.errors import Diverged
from mlrun.training.types import Member


@dataclass(frozen=True)
class Epoch:
    """The result of an epoch."""

    loss: float  # mean loss of the rows, each before its step
    outputs: Tensor | None = None  # (n, out_features) of the validation rows, if already computed


class Engine(Protocol):
    """The methods that the training loop calls."""

    name: str  # autograd | native | stacked
    trains_together: bool  # trains members together, otherwise one after another

    def begin(self, members: Sequence[Member]) -> None:
        """Prepare for training; weights and optimizer states are already set."""

    def train_epoch(
        self, members: Sequence[Member], stop: Callable[[], None]
    ) -> list[Epoch | Diverged]:
        """Train one epoch of each member; `progress.epoch` is its number.

        Returns the error for a member whose loss or gradient is not finite; its weights are then
        those before that step.
        """
