"""When steps, rates and validations come: the sizes of steps, and how schedules move on."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
)

from mlrun.config.schema import Trainer
from mlrun.training.batches import batch_sizes

PER_STEP = (OneCycleLR, LinearLR)  # these schedulers count optimizer steps, the others epochs


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
