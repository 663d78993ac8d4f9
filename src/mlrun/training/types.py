"""Data types of training: rows, learner, progress, member."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    LRScheduler,
)

from mlrun.config.schema import Trainer
from mlrun.errors import Diverged
from mlrun.training.objective import Objective


@dataclass(frozen=True)
class Features:
    """Rows ready for the model."""

    inputs: Tensor  # (n, *in_shape) float32 on the device
    targets: Tensor  # not encoded: (n, 1) float64 or (n,) int64, on the CPU


@dataclass(frozen=True)
class Learner:
    """The objects that training changes: model, optimizer, scheduler."""

    model: nn.Module
    objective: Objective
    optimizer: Optimizer
    scheduler: LRScheduler
    remedies: tuple[str, ...] = ()  # settings that are not in use and may prevent a divergence


@dataclass
class Progress:
    """The progress of a run; plain values for the checkpoint."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_score: float = math.nan  # the monitored score
    # The last epoch that improved on the one before by more than trainer.min_delta.
    improved_epoch: int = 0
    improved_score: float = math.nan
    stale: int = 0  # epochs since then
    seconds: float = 0.0  # total for all epochs, including those before a resume

    @property
    def is_best(self) -> bool:
        """Whether the last epoch is the best so far."""
        return self.best_epoch == self.epoch


@dataclass(frozen=True, eq=False)  # compared by identity, used as a key
class Member:
    """One network in training: a single run, or one of several trained together."""

    learner: Learner
    train: Features  # targets encoded for the loss, on the device
    valid: Features
    trainer: Trainer
    seed: int  # determines row order and dropout, together with the epoch
    progress: Progress
    until: int | None = None  # pause after this epoch


def diverged(what: str, value: float, progress: Progress, learner: Learner) -> Diverged:
    """Return the error for a number that is not finite, with advice."""
    *others, last = ("a smaller optimizer.lr", *learner.remedies)
    advice = f"{', '.join(others)} or {last}" if others else last
    return Diverged(
        f"{what} is {value} in epoch {progress.epoch}, after step {progress.step}; try {advice}"
    )


Outputs = Callable[[nn.Module, Tensor], Tensor]  # (n, *in_shape) → (n, out_features) on the CPU
