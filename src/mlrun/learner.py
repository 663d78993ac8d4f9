"""Model, loss, optimizer and scheduler: built so that they fit the data and each other."""

from collections.abc import Callable

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mlrun.build import build
from mlrun.config import Settings
from mlrun.data.batches import batch_sizes
from mlrun.data.spec import REGRESSION, Dataset
from mlrun.engine import Learner, step_sizes
from mlrun.errors import MlrunError
from mlrun.metrics import check_monitor
from mlrun.objective import Objective, build_objective


def build_learner(
    config: DictConfig, settings: Settings, dataset: Dataset, device: torch.device
) -> Learner:
    """Model, loss, optimizer and scheduler, fitting the data and each other."""
    spec, trainer = dataset.spec, settings.trainer
    objective = build_objective(config, spec)
    check_monitor(trainer.monitor, spec)
    model = build("model", config, in_shape=spec.in_shape, out_features=objective.out_features)
    model = objective.complete(model).to(device)
    check_batch_norm(model, len(dataset.train), trainer.batch_size)
    optimizer = build("optimizer", config)
    runtime = {}
    if OmegaConf.is_missing(config.scheduler, "steps_per_epoch"):
        runtime["steps_per_epoch"] = len(step_sizes(len(dataset.train), trainer))
    scheduler = build("scheduler", config, **runtime)
    rehearse(objective, optimizer, scheduler)
    moved = optimizer(model.parameters())
    return Learner(model, objective, moved, scheduler(moved))


def rehearse(
    objective: Objective,
    make_optimizer: Callable[..., Optimizer],
    make_scheduler: Callable[..., LRScheduler],
) -> None:
    """One step on a single dummy weight: what torch refuses only while training shows up here.

    Raises:
        MlrunError: with torch's reason.
    """
    rows = 2
    try:
        outputs = torch.zeros(rows, objective.out_features)
        targets = torch.zeros(rows, 1) if objective.spec.kind == REGRESSION else torch.arange(rows)
        objective.loss(outputs, objective.encode(targets))
    except (RuntimeError, TypeError, ValueError) as error:
        raise MlrunError(f"loss: {error}") from error
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    optimizer = make_optimizer([weight])
    if optimizer.param_groups[0]["lr"] <= 0:
        raise MlrunError(f"optimizer.lr={optimizer.param_groups[0]['lr']}: must be more than 0")
    scheduler = make_scheduler(optimizer)
    try:
        optimizer.step()
        one_step(scheduler)
    except (RuntimeError, TypeError, ValueError, ArithmeticError) as error:
        raise MlrunError(f"optimizer or scheduler: {error}") from error


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
