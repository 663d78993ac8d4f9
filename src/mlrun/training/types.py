"""What an engine is: the part that turns rows into gradients, steps and outputs.

There are two, `autograd.py` for any model on any device and `native/` for multilayer perceptrons on
the CPU. Both train a member in place, epoch by epoch, with the same order of rows and the same
dropout masks; the loop around them is the same.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
)

from mlrun.config.schema import Trainer
from mlrun.errors import Diverged
from mlrun.training.batches import batch_sizes
from mlrun.training.objective import Objective

PER_STEP = (OneCycleLR, LinearLR)  # these schedulers count optimizer steps, the others epochs


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


@dataclass(frozen=True)
class Member:
    """One network in training: alone, or one of several that are trained together."""

    learner: Learner
    train: Features  # targets as the loss takes them, on the device
    valid: Features
    trainer: Trainer
    seed: int  # with the epoch's number it fixes order and dropout
    progress: Progress
    until: int | None = None  # the epoch to stop after, to go on another time


@dataclass(frozen=True)
class Epoch:
    """What an engine gives back of an epoch."""

    loss: float  # the mean of the rows', each before its step
    outputs: Tensor | None = None  # (n, out_features) of the validation rows, if computed already


class Engine(Protocol):
    """What the loop asks for."""

    name: str  # autograd | native

    def begin(self, members: Sequence[Member]) -> None:
        """Get ready to train; weights and optimizer states are in place."""

    def train_epoch(
        self, members: Sequence[Member], stop: Callable[[], None]
    ) -> list[Epoch | Diverged]:
        """One pass over each member's training rows, as far along as its progress says.

        Where a loss or gradient is not finite, the error instead; the weights are then those before
        that step.
        """


def step_sizes(rows: int, trainer: Trainer) -> list[list[int]]:
    """For each optimizer step of an epoch over so many rows: the sizes of its batches."""
    sizes = batch_sizes(rows, trainer.batch_size)[: trainer.limit_batches]
    starts = range(0, len(sizes), trainer.accumulate)
    return [sizes[start : start + trainer.accumulate] for start in starts]


def will_step(optimizer: Optimizer) -> None:
    """Tell the schedules of an optimizer that something else takes its steps; else they warn."""
    optimizer._opt_called = True  # type: ignore[attr-defined]


def advance_step(scheduler: LRScheduler) -> None:
    """Move a schedule that counts optimizer steps on."""
    if isinstance(scheduler, PER_STEP) and not at_its_end(scheduler):
        scheduler.step()


def advance_epoch(scheduler: LRScheduler, loss: float | None = None) -> None:
    """Move a schedule that counts epochs on.

    Args:
        scheduler: of any kind.
        loss: on the validation rows, if the epoch ended with their scores.
    """
    if isinstance(scheduler, ReduceLROnPlateau):
        if loss is not None:
            scheduler.step(loss)
    elif not isinstance(scheduler, PER_STEP) and not at_its_end(scheduler):
        scheduler.step()


def validates(epoch: int, trainer: Trainer) -> bool:
    """Whether this epoch ends with the scores of the validation rows."""
    return epoch % trainer.eval_every == 0 or epoch == trainer.epochs


def at_its_end(scheduler: LRScheduler) -> bool:
    """Whether a schedule with a planned length is over; a run that is extended keeps its rate."""
    if isinstance(scheduler, CosineAnnealingLR):
        return bool(scheduler.last_epoch >= scheduler.T_max)
    if isinstance(scheduler, OneCycleLR):
        return bool(scheduler.last_epoch + 1 >= scheduler.total_steps)
    return False


def diverged(what: str, value: float, progress: Progress) -> Diverged:
    """The error of a number that is not finite, with what to try."""
    return Diverged(
        f"{what} is {value} in epoch {progress.epoch}, after step {progress.step}; try a smaller "
        "optimizer.lr, trainer.clip_norm=1, or data.scale=standard"
    )
