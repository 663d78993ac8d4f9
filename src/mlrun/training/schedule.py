"""The sizes of optimizer steps, and when schedulers and validations run."""

import math

from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
)

from mlrun.config.schema import Trainer
from mlrun.training.batches import batch_sizes

PER_STEP = (OneCycleLR, LinearLR)  # these schedulers count optimizer steps; the others count epochs


def step_sizes(rows: int, trainer: Trainer) -> list[list[int]]:
    """Return the batch sizes of each optimizer step in an epoch over `rows` rows."""
    sizes = batch_sizes(rows, trainer.batch_size)[: trainer.limit_batches]
    starts = range(0, len(sizes), trainer.accumulate)
    return [sizes[start : start + trainer.accumulate] for start in starts]


def advance_step(scheduler: LRScheduler) -> None:
    """Advance a scheduler that counts optimizer steps."""
    if isinstance(scheduler, PER_STEP) and not at_its_end(scheduler):
        scheduler.step()


def advance_epoch(scheduler: LRScheduler, score: float | None = None) -> None:
    """Advance a scheduler that counts epochs.

    Args:
        scheduler: any scheduler.
        score: the monitored score, if the epoch ended with a validation.
    """
    if isinstance(scheduler, ReduceLROnPlateau):
        if score is not None:
            scheduler.step(score)
    elif not isinstance(scheduler, PER_STEP) and not at_its_end(scheduler):
        scheduler.step()


def validates(epoch: int, trainer: Trainer) -> bool:
    """Whether this epoch ends with a validation."""
    return epoch % trainer.eval_every == 0 or epoch == trainer.epochs


def length(scheduler: LRScheduler, steps: int) -> float:
    """Return after how many epochs of `steps` steps the rate stays as it is; inf: never."""
    if isinstance(scheduler, CosineAnnealingLR):
        return float(scheduler.T_max)
    if isinstance(scheduler, OneCycleLR):
        return float(scheduler.total_steps / steps)
    return math.inf


def rates_ahead(scheduler: LRScheduler, epochs: int, steps: int) -> list[float]:
    """Return the largest learning rate of each of the next epochs; this advances the scheduler.

    Args:
        scheduler: any scheduler.
        epochs: the number of epochs.
        steps: the optimizer steps of an epoch.
    """
    group, found = scheduler.optimizer.param_groups[0], []
    for _ in range(epochs):
        rates = []
        for _ in range(steps if isinstance(scheduler, PER_STEP) else 1):
            rates.append(float(group["lr"]))
            advance_step(scheduler)
        advance_epoch(scheduler)
        found.append(max(rates))
    return found


def at_its_end(scheduler: LRScheduler) -> bool:
    """Whether a scheduler of fixed length has ended; an extended run keeps its final rate."""
    if isinstance(scheduler, CosineAnnealingLR):
        return bool(scheduler.last_epoch >= scheduler.T_max)
    if isinstance(scheduler, OneCycleLR):
        return bool(scheduler.last_epoch + 1 >= scheduler.total_steps)
    return False
