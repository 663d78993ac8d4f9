"""The training loop: epochs, validation, the best one, when to stop; the engine does the rest."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mlrun.config import Trainer
from mlrun.engine import (
    PER_STEP,
    Engine,
    Features,
    Member,
    Progress,
    at_its_end,
    diverged,
)
from mlrun.metrics import higher_is_better, scores
from mlrun.objective import Objective

Row = dict[str, Any]  # one line of metrics.csv
Outputs = Callable[[nn.Module, Tensor], Tensor]  # (n, *in_shape) → (n, out_features) on the CPU


@dataclass(frozen=True)
class Scores:
    """A model's loss and metrics on some rows, and its predictions."""

    values: dict[str, float]  # loss first
    predictions: Tensor = field(repr=False)  # (n, 1) values or (n,) class numbers


def fit(
    member: Member, engine: Engine, outputs: Outputs, *, stop: Callable[[], None] = lambda: None
) -> Iterator[Row]:
    """Train until the epochs are done or patience is over; yield a row of scores an epoch.

    Args:
        member: trained in place; its progress says where to go on from, and is updated before each
            yield.
        engine: takes the steps.
        outputs: what the model says of the rows to validate on.
        stop: called after every step or few; raises to end the run there.

    Raises:
        Diverged: the loss or a gradient is not finite; the weights are those before that step.
    """
    learner, trainer, progress = member.learner, member.trainer, member.progress
    started = time.perf_counter() - progress.seconds
    begun = time.perf_counter()
    engine.begin([member])
    while not finished(progress, trainer):
        progress.epoch += 1
        row: Row = {"epoch": progress.epoch, "step": 0, "lr": _lr(learner.optimizer)}
        (row["train/loss"],) = engine.train_epoch([member], stop)
        row["step"] = progress.step
        if progress.epoch % trainer.eval_every == 0 or progress.epoch == trainer.epochs:
            said = outputs(learner.model, member.valid.inputs)
            result = evaluate(learner.objective, said, member.valid.targets)
            row |= {f"valid/{name}": value for name, value in result.values.items()}
            _keep_score(progress, row, trainer)
        _advance_epoch(learner.scheduler, row)
        progress.seconds = row["seconds"] = round(time.perf_counter() - started, 3)
        yield row
        if _out_of_time(begun, trainer):
            return


def encoded(objective: Objective, features: Features) -> Features:
    """The rows with targets as the loss takes them, on the device."""
    targets = objective.encode(features.targets).to(features.inputs.device)
    return Features(features.inputs, targets)


def evaluate(objective: Objective, outputs: Tensor, targets: Tensor) -> Scores:
    """Loss and metrics over all rows at once: true means, whatever the batch size.

    Args:
        objective: of the model.
        outputs: (n, out_features), what the model said.
        targets: as the files have them, on the CPU.
    """
    predictions = objective.decode(outputs)
    loss = objective.loss(outputs, objective.encode(targets)).item()
    return Scores({"loss": loss, **scores(objective.spec, targets, predictions)}, predictions)


def finished(progress: Progress, trainer: Trainer) -> bool:
    """Whether the epochs are done or patience is over."""
    out_of_patience = trainer.patience is not None and progress.stale >= trainer.patience
    return progress.epoch >= trainer.epochs or out_of_patience


def _out_of_time(begun: float, trainer: Trainer) -> bool:
    minutes = (time.perf_counter() - begun) / 60
    return trainer.max_minutes is not None and minutes > trainer.max_minutes


def _keep_score(progress: Progress, row: Row, trainer: Trainer) -> None:
    """Note whether this epoch is the best one."""
    if not math.isfinite(row["valid/loss"]):
        raise diverged("the validation loss", row["valid/loss"], progress)
    score = row[trainer.monitor]
    sign = -1 if higher_is_better(trainer.monitor, trainer.mode) else 1
    better = sign * score < sign * progress.best_score - trainer.min_delta
    if better or progress.best_epoch == 0:
        progress.best_epoch, progress.best_score = progress.epoch, score
    progress.stale = progress.epoch - progress.best_epoch


def _advance_epoch(scheduler: LRScheduler, row: Row) -> None:
    if isinstance(scheduler, ReduceLROnPlateau):
        if "valid/loss" in row:
            scheduler.step(row["valid/loss"])
    elif not isinstance(scheduler, PER_STEP) and not at_its_end(scheduler):
        scheduler.step()


def _lr(optimizer: Optimizer) -> float:
    """The rate of the next step."""
    return float(optimizer.param_groups[0]["lr"])
