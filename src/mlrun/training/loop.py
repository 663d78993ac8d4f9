"""The training loop: epochs, validation, best epoch, early stopping; the engine takes the steps."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from torch import Tensor
from torch.optim import Optimizer

from mlrun.config.schema import Trainer
from mlrun.errors import Diverged, MlrunError
from mlrun.system.seams import Place, reached
from mlrun.training.engines.base import Engine, Epoch
from mlrun.training.metrics import higher_is_better, scorer
from mlrun.training.objective import Objective
from mlrun.training.schedule import advance_epoch, validates
from mlrun.training.types import Features, Member, Outputs, Progress, diverged

StopReason = Literal["epochs", "patience", "halving", "max_minutes"]
EpochRow = dict[str, Any]  # one line of metrics.csv
Epochs = Iterator[list[tuple[Member, EpochRow | Diverged]]]  # for each member still in training


@dataclass(frozen=True)
class Scores:
    """A model's loss and metrics on some rows, and its predictions."""

    values: dict[str, float]  # loss first
    predictions: Tensor = field(repr=False)  # (n, 1) values or (n,) class numbers


def fit(
    members: Sequence[Member],
    engine: Engine,
    outputs: Outputs,
    *,
    stop: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Epochs:
    """Train until each member has done its epochs, stops early, reaches its time limit or diverges.

    Args:
        members: trained in place, all through one epoch before the next one begins; training
            continues from their progress, which is updated before each yield.
        engine: takes the optimizer steps.
        outputs: computes a model's outputs for the validation rows.
        stop: called after every few steps; raises to stop the training there.
        clock: returns seconds.

    Yields:
        For each member still in training, its row of scores for the epoch. If its loss or gradient
        is not finite, the error instead; its weights are then those before that step.

    Raises:
        MlrunError: the monitored score is not defined, like the R² of one row.
    """
    begun = clock()
    judges = {m: judge(m.learner.objective, m.valid.targets) for m in members}
    before = {member: member.progress.seconds for member in members}
    engine.begin(members)
    active = [member for member in members if not _over(member, 0.0)]
    while active:
        for member in active:
            member.progress.epoch += 1
        reached(Place.EPOCH_BEGINS)
        rates = [_lr(member.learner.optimizer) for member in active]
        epochs = engine.train_epoch(active, stop)
        results = [
            (member, _end_epoch(member, outputs, judges[member], lr, epoch))
            for member, lr, epoch in zip(active, rates, epochs, strict=True)
        ]
        spent = clock() - begun
        for member, result in results:
            if isinstance(result, dict):
                seconds = round(before[member] + spent, 3)
                member.progress.seconds = result["seconds"] = seconds
        yield results
        active = [m for m, result in results if isinstance(result, dict) and not _over(m, spent)]


def _end_epoch(
    member: Member,
    outputs: Outputs,
    judge: Callable[[Tensor], Scores],
    lr: float,
    epoch: Epoch | Diverged,
) -> EpochRow | Diverged:
    """Validate, update the best epoch, and advance the scheduler."""
    learner, trainer, progress = member.learner, member.trainer, member.progress
    if isinstance(epoch, Diverged):
        return epoch
    row: EpochRow = {
        "epoch": progress.epoch,
        "step": progress.step,
        "lr": lr,
        "train/loss": epoch.loss,
    }
    if validates(progress.epoch, trainer):
        predicted = epoch.outputs
        if predicted is None:
            predicted = outputs(learner.model, member.valid.inputs)
        row |= {f"valid/{name}": value for name, value in judge(predicted).values.items()}
        if not math.isfinite(row["valid/loss"]):
            return diverged("the validation loss", row["valid/loss"], progress, learner)
        if math.isnan(row[trainer.monitor]):
            raise MlrunError(_not_defined(trainer, progress.epoch))
        reached(Place.EPOCH_SCORED)
        _keep_score(progress, row, trainer)
    advance_epoch(learner.scheduler, row.get(trainer.monitor))
    return row


def _not_defined(trainer: Trainer, epoch: int) -> str:
    return (
        f"{trainer.monitor} is not defined for these validation rows (epoch {epoch}), so it cannot "
        "choose the best epoch; set trainer.monitor=valid/loss or validate on more rows"
    )


def _over(member: Member, seconds: float) -> bool:
    limit = member.trainer.max_minutes
    out_of_time = limit is not None and seconds / 60 > limit
    return out_of_time or member_waits(member) or finished(member.progress, member.trainer)


def member_waits(member: Member) -> bool:
    """Whether the member pauses after this epoch."""
    return member.until is not None and member.progress.epoch >= member.until


def encoded(objective: Objective, features: Features) -> Features:
    """Return the rows with targets encoded for the loss, on the device."""
    targets = objective.encode(features.targets).to(features.inputs.device)
    return Features(features.inputs, targets)


def score_outputs(objective: Objective, outputs: Tensor, targets: Tensor) -> Scores:
    """Compute loss and metrics over all rows at once: true means, for any batch size.

    Args:
        objective: the objective of the model.
        outputs: (n, out_features), the outputs of the model.
        targets: not encoded, on the CPU.
    """
    return judge(objective, targets)(outputs)


def judge(objective: Objective, targets: Tensor) -> Callable[[Tensor], Scores]:
    """Return a function that computes `score_outputs` repeatedly for the same rows."""
    metrics, encoded = scorer(objective.spec, targets), objective.encode(targets)

    def judged(outputs: Tensor) -> Scores:
        predictions = objective.decode(outputs)
        loss = objective.loss_of(outputs, encoded).item()
        own = objective.own_scores(targets, predictions, partial(objective.probabilities, outputs))
        return Scores({"loss": loss, **metrics(predictions), **own}, predictions)

    return judged


def finished(progress: Progress, trainer: Trainer) -> bool:
    """Whether all epochs are done or early stopping applies."""
    return stop_reason(progress, trainer) in ("epochs", "patience")


def stop_reason(progress: Progress, trainer: Trainer, until: int | None = None) -> StopReason:
    """Return why training stopped after the last epoch.

    Args:
        progress: the progress at the end.
        trainer: the settings.
        until: the epoch of a pause by successive halving.
    """
    if progress.epoch >= trainer.epochs:
        return "epochs"
    if trainer.patience is not None and progress.stale >= trainer.patience:
        return "patience"
    return "halving" if until is not None and progress.epoch >= until else "max_minutes"


def _keep_score(progress: Progress, row: EpochRow, trainer: Trainer) -> None:
    """Update the best epoch, and the one from which `patience` counts: only it has a min_delta."""
    score, first = row[trainer.monitor], progress.best_epoch == 0
    sign = -1 if higher_is_better(trainer.monitor, trainer.mode) else 1
    if first or sign * score < sign * progress.best_score:
        progress.best_epoch, progress.best_score = progress.epoch, score
    if first or sign * score < sign * progress.improved_score - trainer.min_delta:
        progress.improved_epoch, progress.improved_score = progress.epoch, score
    progress.stale = progress.epoch - progress.improved_epoch


def _lr(optimizer: Optimizer) -> float:
    """Return the learning rate of the next step."""
    return float(optimizer.param_groups[0]["lr"])
