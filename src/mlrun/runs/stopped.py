"""A stopped run: read its checkpoint and rebuild its state."""

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlrun.config.recorded import from_the_record
from mlrun.config.schema import Settings, settings_of
from mlrun.config.signature import from_plain
from mlrun.config.values import Composed, composed
from mlrun.data.dataset import Dataset
from mlrun.data.preprocess.module import build_preprocess
from mlrun.errors import MlrunError
from mlrun.runs.checkpoint import State, load_last
from mlrun.runs.data import load_run_data
from mlrun.runs.folder import RunFolder
from mlrun.runs.job import Job, prepare
from mlrun.runs.predictor import check_plan, check_weights
from mlrun.system.files import blamed_on, move
from mlrun.system.seams import Place, reached
from mlrun.training.rehearsal import one_step
from mlrun.training.schedule import length, rates_ahead, step_sizes
from mlrun.training.types import Learner, Progress

log = logging.getLogger(__name__)

# Settings that a resumed run may change: duration, output and checkpoints.
MAY_CHANGE = (
    "trainer.epochs",
    "trainer.patience",
    "trainer.max_minutes",
    "checkpoint.every_seconds",
    "quiet",
)


@dataclass(frozen=True)
class Stopped:
    """A stopped run and the state to continue from."""

    run: RunFolder
    state: State | None  # None: no epoch was saved; start from the beginning
    complaint: str  # the problem of the newest checkpoint, if any
    config: Composed
    settings: Settings
    progress: Progress
    longer: bool  # trained for more epochs than its schedule was made for


def read_stopped(run: RunFolder, overrides: Sequence[str]) -> Stopped:
    """Read the state of a stopped run and apply the overrides.

    Raises:
        MlrunError: no checkpoint is readable, or an override is not allowed.
    """
    state, complaint = load_last(run)
    config = changed(configuration(run, state), overrides)
    longer = [word for word in overrides if word.startswith("trainer.epochs=")]
    if state is None and longer:  # the scheduler may depend on the number of epochs
        raise MlrunError(f"{run.path}: no epoch is done yet; start a new run with {longer[0]}")
    settings, progress = settings_of(config.values), _progress(state, run.last)
    return Stopped(run, state, complaint, config, settings, progress, bool(longer))


def rebuild(stopped: Stopped, data: str | None, read: dict[str, Dataset] | None = None) -> Job:
    """Rebuild data (see load_run_data), model, optimizer and scheduler of a stopped run."""
    run, state, config = stopped.run, stopped.state, stopped.config
    if state is None:
        dataset = load_run_data(run, config.values, None, data=data, read=read)
        return prepare(config, stopped.settings, dataset)
    with blamed_on(run.last):
        check_plan(config.values, state)
        build_preprocess(state["contract"])
    dataset = load_run_data(run, config.values, state["contract"], data=data, read=read)
    job = prepare(config, stopped.settings, dataset)
    with blamed_on(run.last):
        reached(Place.STATE_RESTORING)
        restore(job.learner, state)
        reached(Place.STATE_RESTORED)
    if stopped.longer:
        _check_later_rates(stopped, state, job)
    return job


def _check_later_rates(stopped: Stopped, state: State, job: Job) -> None:
    """Warn that the learning rate of an extended run stays at its last value.

    Raises:
        MlrunError: it is 0 in every further epoch, so that more epochs would change nothing.
    """
    trainer, scheduler = stopped.settings.trainer, job.learner.scheduler
    steps = len(step_sizes(len(job.dataset.train), trainer))
    done, name = stopped.progress.epoch, type(scheduler).__name__
    rates = rates_ahead(scheduler, trainer.epochs - done, steps)
    _load(job.learner, state)
    positive = [done + epoch for epoch, rate in enumerate(rates, start=1) if rate > 0]
    if rates and not positive:
        raise MlrunError(
            f"{stopped.run.path}: its schedule ({name}) has reached learning rate 0; more epochs "
            f"would change nothing. Start a new run with trainer.epochs={trainer.epochs} (one with "
            "scheduler=constant can be extended later)"
        )
    end = min(length(scheduler, steps), max(positive, default=math.inf))
    if end < trainer.epochs:
        log.warning(
            "the schedule (%s) ends after epoch %.0f; until epoch %d the learning rate stays at %g",
            *(name, end, trainer.epochs, rates[-1]),
        )


def ended_at_zero(stopped: Stopped) -> bool:
    """Whether the last learning rate was 0, by the scheduler's state in the checkpoint."""
    scheduler = stopped.state and stopped.state["scheduler"]
    return isinstance(scheduler, dict) and scheduler.get("_last_lr") == [0.0]


def tidy_up(stopped: Stopped) -> None:
    """Delete the end-of-run entries of the previous process; later writes delete its leftovers."""
    run = stopped.run
    if stopped.complaint:
        log.warning(stopped.complaint)
        move(run.previous, run.last)  # the damaged file must not replace previous.safetensors
    for entry in ("error", "ended", "stopped"):
        run.record.pop(entry, None)


def restore(learner: Learner, state: State) -> None:
    """Restore model, optimizer and scheduler, after a test step shows that they work."""
    weights = learner.model.state_dict()
    for held in (state, state["best"] or state):
        check_weights(weights, held["weights"])
    _load(learner, copy.deepcopy(state))
    for parameter in learner.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    learner.optimizer.step()
    one_step(learner.scheduler)
    _load(learner, state)


def _load(learner: Learner, state: State) -> None:
    learner.model.load_state_dict(state["weights"])
    learner.optimizer.load_state_dict(state["optimizer"])
    learner.scheduler.load_state_dict(state["scheduler"])


def _progress(state: State | None, source: Path) -> Progress:
    """Return the progress of the run after checking it against the history.

    Raises:
        MlrunError: they contradict each other.
    """
    if state is None:
        return Progress()
    progress = from_plain(Progress, state.get("progress"), source=str(source))
    history = state.get("history")
    if not isinstance(history, list) or not all(map(_is_row, history)):
        raise MlrunError(f"{source} is damaged: its history is not a list of epochs")
    epochs = [row["epoch"] for row in history]
    validated = [row["epoch"] for row in history if "valid/loss" in row]
    best_is_there = isinstance(state.get("best"), dict) and progress.best_epoch in validated
    in_order = len(epochs) == progress.epoch and epochs == [*range(1, len(epochs) + 1)]
    if not in_order or best_is_there != bool(validated):
        raise MlrunError(f"{source} is damaged: history and progress contradict each other")
    return progress


def _is_row(row: Any) -> bool:
    named = isinstance(row, dict) and all(isinstance(key, str) for key in row)
    named = named and type(row.get("epoch")) is int
    return named and all(map(_is_number, row.values()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def configuration(run: RunFolder, state: State | None) -> Composed:
    """Return the configuration from the checkpoint, or else from run.json."""
    if state is not None:
        return from_the_record(state["config"], run.last)
    return from_the_record(run.record.get("config"), run.path / "run.json")


def changed(config: Composed, overrides: Sequence[str]) -> Composed:
    """Apply overrides to the configuration of a resumed run.

    Raises:
        MlrunError: a resumed run may not change that setting.
    """
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise MlrunError(f"'{override}': must be KEY=VALUE")
        if key not in MAY_CHANGE:
            raise MlrunError(
                f"{key} cannot change in a resumed run, which must continue exactly; only "
                f"{', '.join(MAY_CHANGE)} can change. Start a new run for {override}"
            )
    try:
        changes = OmegaConf.from_dotlist(list(overrides))
        return composed(OmegaConf.merge(config.raw, changes))  # type: ignore[arg-type]
    except OmegaConfBaseException as error:
        raise MlrunError(str(error).splitlines()[0]) from error
