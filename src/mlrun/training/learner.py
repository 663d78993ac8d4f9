"""Build model, loss, optimizer and scheduler for the data, and choose the engine."""

import logging
from collections.abc import Mapping
from typing import Any

import torch

from mlrun.config.build import build
from mlrun.config.schema import Settings, Trainer
from mlrun.config.values import NOT_SET
from mlrun.data.dataset import Dataset
from mlrun.errors import MlrunError
from mlrun.training.engines.base import Engine
from mlrun.training.engines.choose import choose_engine
from mlrun.training.metrics import SIZE, check_scores, higher_is_better
from mlrun.training.objective import build_objective
from mlrun.training.rehearsal import check_batch_norm, rehearse, rehearse_step
from mlrun.training.schedule import step_sizes
from mlrun.training.types import Learner

log = logging.getLogger(__name__)


def build_learner(
    values: Mapping[str, Any], settings: Settings, dataset: Dataset, device: torch.device
) -> tuple[Learner, Engine, str]:
    """Build model, loss, optimizer and scheduler for the data; choose their engine.

    The text is the reason why it is not the native engine, if the user did not decide that.
    """
    spec, trainer = dataset.spec, settings.trainer
    objective = build_objective(values, spec)
    own = [metric.name for metric in objective.metrics]
    check_scores("trainer.monitor", [trainer.monitor], spec, own=own)
    if dataset.valid.targets is not None:
        objective.rehearse_metrics(dataset.valid.targets)
    if trainer.monitor == "valid/r2" and len(dataset.valid) < 2:
        raise MlrunError(
            "trainer.monitor=valid/r2: R² is not defined for 1 validation row; monitor valid/loss, "
            "or validate on more rows (data.split.ratio)"
        )
    check_scores("sweep.objectives", settings.sweep.objectives or [], spec, SIZE, own=own)
    model = build("model", values, in_shape=spec.in_shape, out_features=objective.out_features)
    model = objective.complete(model).to(device)
    check_batch_norm(model, len(dataset.train), trainer.batch_size)
    optimizer = build("optimizer", values)
    runtime: dict[str, Any] = {}
    if values["scheduler"].get("steps_per_epoch") == NOT_SET:
        runtime["steps_per_epoch"] = len(step_sizes(len(dataset.train), trainer))
    if "mode" in values["scheduler"]:
        runtime["mode"] = _plateau_mode(values["scheduler"]["mode"], trainer)
    scheduler = build("scheduler", values, **runtime)
    rehearse(objective, optimizer, scheduler)
    moved = optimizer(model.parameters())
    learner = Learner(model, objective, moved, scheduler(moved), _remedies(values, trainer))
    engine, reason = choose_engine(learner, trainer)
    if engine.name == "autograd":
        rehearse_step(optimizer)
    if trainer.engine != "auto" or device.type != "cpu":
        reason = ""
    if reason:
        log.info("the native engine was not used: %s", reason)
    return learner, engine, reason


def _remedies(values: Mapping[str, Any], trainer: Trainer) -> tuple[str, ...]:
    """Return settings against a divergence that this run does not use."""
    data = values["data"]
    known = {
        "trainer.clip_norm=1": trainer.clip_norm is None or trainer.clip_norm > 1,
        "data.scale=standard": data.get("scale") == "none",
        "data.scale_target=true": data.get("scale_target") is False,
    }
    return tuple(setting for setting, unused in known.items() if unused)


def _plateau_mode(mode: str, trainer: Trainer) -> str:
    """Return the direction that counts as an improvement of the monitored score: min or max."""
    right = "max" if higher_is_better(trainer.monitor, trainer.mode) else "min"
    if mode not in ("auto", right):
        raise MlrunError(
            f"scheduler.mode={mode}: the scheduler watches trainer.monitor={trainer.monitor}, for "
            f"which {right} is right; leave out scheduler.mode, or set trainer.monitor"
        )
    return right
