"""Model, loss, optimizer and scheduler: built so that they fit the data and each other."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mlrun.config.build import build
from mlrun.config.schema import Settings
from mlrun.config.values import NOT_SET
from mlrun.data.dataset import REGRESSION, Dataset
from mlrun.errors import MlrunError
from mlrun.training.batches import batch_sizes
from mlrun.training.engines.choose import choose_engine
from mlrun.training.metrics import SIZE, check_scores
from mlrun.training.objective import Objective, build_objective
from mlrun.training.types import Engine, Learner, step_sizes, will_step

log = logging.getLogger(__name__)


def build_learner(
    values: Mapping[str, Any], settings: Settings, dataset: Dataset, device: torch.device
) -> tuple[Learner, Engine]:
    """Model, loss, optimizer and scheduler, fitting the data and each other, and their engine."""
    spec, trainer = dataset.spec, settings.trainer
    objective = build_objective(values, spec)
    check_scores("trainer.monitor", [trainer.monitor], spec)
    check_scores("sweep.objectives", settings.sweep.objectives or [], spec, SIZE)
    model = build("model", values, in_shape=spec.in_shape, out_features=objective.out_features)
    model = objective.complete(model).to(device)
    check_batch_norm(model, len(dataset.train), trainer.batch_size)
    optimizer = build("optimizer", values)
    runtime = {}
    if values["scheduler"].get("steps_per_epoch") == NOT_SET:
        runtime["steps_per_epoch"] = len(step_sizes(len(dataset.train), trainer))
    scheduler = build("scheduler", values, **runtime)
    rehearse(objective, optimizer, scheduler)
    moved = optimizer(model.parameters())
    learner = Learner(model, objective, moved, scheduler(moved))
    engine, reason = choose_engine(learner, trainer)
    if engine.name == "autograd":
        rehearse_step(optimizer)
    if reason and trainer.engine == "auto" and device.type == "cpu":
        log.info("not trained by the native engine: %s", reason)
    return learner, engine


def rehearse(
    objective: Objective,
    make_optimizer: Callable[..., Optimizer],
    make_scheduler: Callable[..., LRScheduler],
) -> None:
    """What torch refuses only while training shows up here, on dummies.

    Raises:
        MlrunError: with torch's reason.
    """
    rows = 2
    with _told_as("loss"):
        outputs = torch.zeros(rows, objective.out_features)
        targets = torch.zeros(rows, 1) if objective.spec.kind == REGRESSION else torch.arange(rows)
        objective.loss(outputs, objective.encode(targets))
    optimizer = _dummy(make_optimizer)
    if optimizer.param_groups[0]["lr"] <= 0:
        raise MlrunError(f"optimizer.lr={optimizer.param_groups[0]['lr']}: must be more than 0")
    scheduler = make_scheduler(optimizer)
    with _told_as("optimizer or scheduler"):
        will_step(optimizer)
        one_step(scheduler)


def rehearse_step(make_optimizer: Callable[..., Optimizer]) -> None:
    """One step of torch's optimizer on a dummy weight; the kernel's refuse nothing.

    Raises:
        MlrunError: with torch's reason.
    """
    optimizer = _dummy(make_optimizer)
    with _told_as("optimizer or scheduler"):
        optimizer.step()


def _dummy(make_optimizer: Callable[..., Optimizer]) -> Optimizer:
    """The optimizer of a single weight.

    torch's optimizers import its compiler, which takes longer than a small run, only to be left
    out of what it traces (torch/_compile.py). Nothing is traced here: tell them it is done.
    """
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        method = getattr(getattr(Optimizer, name), "__wrapped__", None)
        if method is not None:
            method.__dynamo_disable = method
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    return make_optimizer([weight])


@contextmanager
def _told_as(what: str) -> Iterator[None]:
    """torch's refusals as the user's mistakes they are."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        raise MlrunError(f"{what}: {error}") from error


def one_step(scheduler: LRScheduler) -> None:
    """Move a schedule on, just to see that it moves."""
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(0.0)
    else:
        scheduler.step()


def check_batch_norm(model: nn.Module, rows: int, batch_size: int) -> None:
    """Refuse batch norm over batches of one row, which have no variance."""
    normed = any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in model.modules())
    if normed and min(batch_sizes(rows, batch_size)) == 1:
        raise MlrunError(
            f"model.norm=batch needs batches of at least 2 rows (trainer.batch_size={batch_size}, "
            f"{rows} training rows): model.norm=none"
        )
