"""The training loop: fit, train_epoch, evaluate. One model, in memory, on any device."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
)

from mlrun.config import Trainer
from mlrun.data.batches import batch_sizes, batches
from mlrun.device import counter_seed
from mlrun.errors import Diverged
from mlrun.metrics import higher_is_better, scores
from mlrun.objective import Objective, penalty

Row = dict[str, Any]  # one line of metrics.csv
PER_STEP = (OneCycleLR, LinearLR)  # these schedulers count optimizer steps, the others epochs
# Rows scored at once, whatever the batch size, the last few filled up with zeros: a matrix product
# of another size may round differently (and on some processors one row than the next). On a CPU
# the activations of more images leave the cache (1,024 at once took four times as long as 128).
ROWS_AT_ONCE, IMAGES_AT_ONCE = 256, 128


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
class Scores:
    """A model's loss and metrics on some rows, and its predictions."""

    values: dict[str, float]  # loss first
    predictions: Tensor = field(repr=False)  # (n, 1) values or (n,) class numbers


def fit(
    learner: Learner,
    train: Features,
    valid: Features,
    *,
    trainer: Trainer,
    seed: int,
    progress: Progress,
    stop: Callable[[], None] = lambda: None,
) -> Iterator[Row]:
    """Train until the epochs are done or patience is over; yield a row of scores an epoch.

    Args:
        learner: trained in place.
        train: rows to learn from.
        valid: rows to pick the best epoch by.
        trainer: how long and on what terms.
        seed: of the run; with the epoch's number it fixes order and dropout.
        progress: where to go on from; updated in place before each yield.
        stop: called after every step; raises to end the run there.

    Raises:
        Diverged: the loss or a gradient is not finite; the weights are those before that step.
    """
    started = time.perf_counter() - progress.seconds
    train = encoded(learner.objective, train)
    begun = time.perf_counter()
    while not finished(progress, trainer):
        progress.epoch += 1
        torch.manual_seed(counter_seed(seed, progress.epoch))  # dropout
        row: Row = {"epoch": progress.epoch, "step": 0, "lr": _lr(learner.optimizer)}
        row["train/loss"] = train_epoch(learner, train, trainer, seed, progress, stop)
        row["step"] = progress.step
        if progress.epoch % trainer.eval_every == 0 or progress.epoch == trainer.epochs:
            result = evaluate(learner.model, learner.objective, valid, trainer.precision)
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


def train_epoch(
    learner: Learner,
    train: Features,
    trainer: Trainer,
    seed: int,
    progress: Progress,
    stop: Callable[[], None],
) -> float:
    """One pass over the training rows; the mean loss of a row, before each step."""
    learner.model.train()
    count, device = len(train.inputs), train.inputs.device
    order = batches(
        count,
        trainer.batch_size,
        seed=seed,
        epoch=progress.epoch,
        shuffle=trainer.shuffle,
        limit=trainer.limit_batches,
    )
    total, seen = torch.zeros((), device=device), 0
    for group in _groups(order, trainer.accumulate):
        total += train_step(learner, train, group, trainer, progress)
        seen += sum(map(len, group))
        progress.step += 1
        if isinstance(learner.scheduler, PER_STEP) and not _at_its_end(learner.scheduler):
            learner.scheduler.step()
        stop()
    return total.item() / seen


def train_step(
    learner: Learner, train: Features, group: Sequence[Tensor], trainer: Trainer, progress: Progress
) -> Tensor:
    """One optimizer step over a group of batches; the sum of their rows' losses."""
    rows = sum(map(len, group))
    total = torch.zeros((), device=train.inputs.device)
    learner.optimizer.zero_grad()
    for batch in group:
        index = batch.to(train.inputs.device)
        with autocast(train.inputs.device, trainer.precision):
            outputs = learner.model(train.inputs[index])
        loss = learner.objective.loss(outputs.float(), train.targets[index])
        (loss * (len(batch) / rows)).backward()  # as one large batch would
        total += loss.detach() * len(batch)
    if trainer.l1 or trainer.l2:
        penalty(learner.model, l1=trainer.l1, l2=trainer.l2).backward()  # type: ignore[no-untyped-call]
    norm = _clip(learner.model, trainer)
    if not torch.isfinite(total + norm):  # asked once a step: an answer from a GPU takes time
        what = "the training loss" if not torch.isfinite(total) else "the norm of the gradients"
        value = (norm if torch.isfinite(total) else total / rows).item()
        raise _diverged(what, value, progress)
    learner.optimizer.step()
    return total


def _clip(model: nn.Module, trainer: Trainer) -> Tensor:
    """Clip as the trainer says; the norm of all gradients together, before it was clipped."""
    if trainer.clip_value is not None:
        nn.utils.clip_grad_value_(model.parameters(), trainer.clip_value)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm: Tensor = nn.utils.get_total_norm(gradients)
    if trainer.clip_norm is not None:
        nn.utils.clip_grads_with_norm_(model.parameters(), trainer.clip_norm, norm)
    return norm


def evaluate(model: nn.Module, objective: Objective, features: Features, precision: str) -> Scores:
    """Loss and metrics over all rows at once: true means, whatever the batch size."""
    outputs = outputs_of(model, features.inputs, precision)
    predictions = objective.decode(outputs)
    loss = objective.loss(outputs, objective.encode(features.targets)).item()
    values = {"loss": loss, **scores(objective.spec, features.targets, predictions)}
    return Scores(values, predictions)


def outputs_of(model: nn.Module, inputs: Tensor, precision: str) -> Tensor:
    """The model's outputs (n, out_features), float32 on the CPU; each row's for itself."""
    model.eval()
    size = IMAGES_AT_ONCE if inputs.dim() == 4 else ROWS_AT_ONCE
    with torch.inference_mode(), autocast(inputs.device, precision):
        parts = [model(_filled(part, size)).float().cpu() for part in torch.split(inputs, size)]
    return torch.cat(parts)[: len(inputs)]


def _filled(part: Tensor, size: int) -> Tensor:
    """With rows of zeros at the end, up to `size` rows."""
    missing = size - len(part)
    return torch.cat([part, part.new_zeros(missing, *part.shape[1:])]) if missing else part


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 where the trainer asks for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def steps_per_epoch(rows: int, trainer: Trainer) -> int:
    """Optimizer steps in an epoch over so many rows."""
    count = len(batch_sizes(rows, trainer.batch_size)[: trainer.limit_batches])
    return math.ceil(count / trainer.accumulate)


def _groups(order: Iterator[Tensor], size: int) -> Iterator[list[Tensor]]:
    group: list[Tensor] = []
    for batch in order:
        group.append(batch)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


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
        raise _diverged("the validation loss", row["valid/loss"], progress)
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
    elif not isinstance(scheduler, PER_STEP) and not _at_its_end(scheduler):
        scheduler.step()


def _at_its_end(scheduler: LRScheduler) -> bool:
    """Whether a schedule with a planned length is over; a run that is extended keeps its rate."""
    if isinstance(scheduler, CosineAnnealingLR):
        return bool(scheduler.last_epoch >= scheduler.T_max)
    if isinstance(scheduler, OneCycleLR):
        return bool(scheduler.last_epoch + 1 >= scheduler.total_steps)
    return False


def _lr(optimizer: Optimizer) -> float:
    """The rate of the next step."""
    return float(optimizer.param_groups[0]["lr"])


def _diverged(what: str, value: float, progress: Progress) -> Diverged:
    return Diverged(
        f"{what} is {value} in epoch {progress.epoch}, after step {progress.step}; try a smaller "
        "optimizer.lr, trainer.clip_norm=1, or data.scale=standard"
    )
