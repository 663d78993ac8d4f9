"""What an engine is: the part that turns rows into gradients, steps and outputs.

There are three: `autograd.py` for any model on any device, `stacked.py` for members that differ in
seed, rows and learning rate only, and `native/` for multilayer perceptrons on the CPU. All train a
member in place, epoch by epoch, with the same order of rows and the same dropout masks; the loop
around them is the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from mlrun.errors import Diverged
from mlrun.training.types import Member


@dataclass(frozen=True)
class Epoch:
    """What an engine gives back of an epoch."""

    loss: float  # the mean of the rows', each before its step
    outputs: Tensor | None = None  # (n, out_features) of the validation rows, if computed already


class Engine(Protocol):
    """What the loop asks for."""

    name: str  # autograd | native | stacked
    trains_together: bool  # members side by side; else one after another

    def begin(self, members: Sequence[Member]) -> None:
        """Get ready to train; weights and optimizer states are in place."""

    def train_epoch(
        self, members: Sequence[Member], stop: Callable[[], None]
    ) -> list[Epoch | Diverged]:
        """One pass over each member's training rows, as far along as its progress says.

        Where a loss or gradient is not finite, the error instead; the weights are then those before
        that step.
        """
