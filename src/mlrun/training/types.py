"""What is trained, on what, and how far it has come."""

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
    targets: Tensor  # as the files have them: (n, 1) float32 or (n,) int64, on the CPU


@dataclass(frozen=True)
class Learner:
    """What training changes: the model and what moves it."""

    model: nn.Module
    objective: Objective
    optimizer: Optimizer
    scheduler: LRScheduler


@dataclass
class Progress:
    """How far a run has come; plain values that a checkpoint can hold."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_score: float = math.nan  # the monitored score, as it reads
    stale: int = 0  # epochs since the best
    seconds: float = 0.0  # spent in the epochs so far, those before a resumption included

    @property
    def improved(self) -> bool:
        """Whether the epoch just done is the best so far."""
        return self.best_epoch == self.epoch


@dataclass(frozen=True, eq=False)  # each is one of a kind, and a key
class Member:
    """One network in training: alone, or one of several that are trained together."""

    learner: Learner
    train: Features  # targets as the loss takes them, on the device
    valid: Features
    trainer: Trainer
    seed: int  # with the epoch's number it fixes order and dropout
    progress: Progress
    until: int | None = None  # the epoch to stop after, to go on another time


def diverged(what: str, value: float, progress: Progress) -> Diverged:
    """The error of a number that is not finite, with what to try."""
    return Diverged(
        f"{what} is {value} in epoch {progress.epoch}, after step {progress.step}; try a smaller "
        "optimizer.lr, trainer.clip_norm=1, or data.scale=standard"
    )


Outputs = Callable[[nn.Module, Tensor], Tensor]  # (n, *in_shape) → (n, out_features) on the CPU
