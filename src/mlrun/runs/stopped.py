"""resume: go on with a run from its folder, to the same bits as if it had never stopped."""

import copy
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlrun.config.recorded import for_the_record, from_the_record
from mlrun.config.schema import Settings, settings_of
from mlrun.config.signature import from_plain
from mlrun.config.values import Composed, composed
from mlrun.data.dataset import Dataset
from mlrun.data.preprocess import build_preprocess
from mlrun.errors import MlrunError
from mlrun.report.console import Console
from mlrun.runs.checkpoint import State, load_last
from mlrun.runs.data import load_run_data
from mlrun.runs.ensemble import FOLDER, is_committee
from mlrun.runs.folder import RunFolder, is_sweep, locked, open_run, remove_leftovers
from mlrun.runs.predictor import check_plan, check_weights
from mlrun.runs.record import recorded
from mlrun.runs.single import Job, carry_out, follow, prepare
from mlrun.system import processes
from mlrun.system.files import blamed_on, read_json
from mlrun.training.distributed import joined
from mlrun.training.loop import finished
from mlrun.training.rehearsal import one_step
from mlrun.training.types import Learner, Progress

log = logging.getLogger(__name__)

# What a resumed run may change: how long it goes on, and what is said and saved meanwhile.
MAY_CHANGE = (
    "trainer.epochs",
    "trainer.patience",
    "trainer.max_minutes",
    "checkpoint.every_seconds",
    "quiet",
)
UNFINISHED = ("running", "interrupted", "failed")


@dataclass(frozen=True)
class Stopped:
    """A run that has stopped, and from where it goes on."""

    run: RunFolder
    state: State | None  # None: no epoch was saved, it starts from the beginning
    complaint: str  # what was wrong with the newest checkpoint
    config: Composed
    settings: Settings
    progress: Progress


def resume(
    folder: str,
    overrides: Sequence[str] = (),
    *,
    data: str | None = None,
    failed: bool = False,
) -> None:
    """Go on with the run in `folder`, or with the newest unfinished one below it.

    Args:
        folder: a run folder, or a folder of such.
        overrides: KEY=VALUE for the keys of MAY_CHANGE, e.g. more epochs.
        data: where its data files are now, if not where they were.
        failed: of a sweep: also try again the jobs that failed.

    Raises:
        MlrunError: no run to resume, another process is at it, its data has changed, or a change
            that could not be honoured exactly.
    """
    path = _newest_unfinished(Path(folder))
    if is_sweep(path):
        from mlrun.sweep.resume import resume_sweep

        processes.refuse("a sweep")
        if overrides:
            raise MlrunError(f"{path} is a sweep, whose jobs stay as they are: no {overrides[0]}")
        resume_sweep(path, data=data, failed=failed)
        return
    if failed:
        raise MlrunError(f"{path} is no sweep: --failed is for those")
    run = open_run(path)
    if is_committee(run):
        from mlrun.runs.members import resume_members

        processes.refuse("seeds or folds")
        resume_members(run, overrides, data=data)
        return
    with locked(run) if processes.rank() == 0 else nullcontext():
        stopped = read_stopped(run, overrides)
        progress, settings = stopped.progress, stopped.settings
        with joined(settings.device) as team, Console(quiet=settings.quiet) as console:
            if finished(progress, settings.trainer) and run.record.get("status") == "done":
                _nothing_to_do(console, stopped)
                return
            with team.first_before_others():
                job = rebuild(stopped, data)
            if team.rank:
                follow(job, progress)
                return
            console.log_to(run.log)
            log.info("resuming %s after epoch %d", run.path, progress.epoch)
            with recorded(run) as outcome:
                tidy_up(stopped)
                asked = for_the_record(stopped.config)
                run.update(status="running", resumed_after=progress.epoch, config=asked)
                state = stopped.state
                outcome.status = carry_out(run, job, console, progress=progress, resumed=state)


def _nothing_to_do(console: Console, stopped: Stopped) -> None:
    epoch, trainer = stopped.progress.epoch, stopped.settings.trainer
    patient = epoch < trainer.epochs
    why = f", the last {trainer.patience} without improvement" if patient else ""
    change = "trainer.patience" if patient else "trainer.epochs"
    console.out.print(f"nothing left to do: {epoch} epochs are done{why}")
    console.out.print(f"to go on: mlrun resume {stopped.run.path} {change}=…")


def read_stopped(run: RunFolder, overrides: Sequence[str]) -> Stopped:
    """Where a run stopped, and what it is asked to do now.

    Raises:
        MlrunError: no checkpoint that can be read, or a change that cannot be honoured.
    """
    state, complaint = load_last(run)
    config = changed(configuration(run, state), overrides)
    longer = [word for word in overrides if word.startswith("trainer.epochs=")]
    if state is None and longer:  # the schedule may depend on it
        raise MlrunError(f"{run.path}: no epoch is done; start a new run with {longer[0]}")
    settings, progress = settings_of(config.values), _progress(state, run.last)
    return Stopped(run, state, complaint, config, settings, progress)


def rebuild(stopped: Stopped, data: str | None, read: dict[str, Dataset] | None = None) -> Job:
    """Data (see load_run_data), model and what moves it, as they were when the run stopped."""
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
        restore(job.learner, state)
    return job


def tidy_up(stopped: Stopped) -> None:
    """Away with what the process before left half done, and with what it said of its end."""
    run = stopped.run
    remove_leftovers(run)
    if stopped.complaint:
        log.warning(stopped.complaint)
        run.previous.replace(run.last)  # the damaged one must not become previous.pt, the good one
    for told_before in ("error", "ended"):
        run.record.pop(told_before, None)


def restore(learner: Learner, state: State) -> None:
    """Put model, optimizer and scheduler where they were, once a step has shown that they work."""
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
    """How far the run had come, once its history and best epoch are known to agree with it.

    Raises:
        MlrunError: they do not.
    """
    if state is None:
        return Progress()
    progress = from_plain(Progress, state.get("progress"), source=str(source))
    history = state.get("history")
    if not isinstance(history, list) or not all(map(_is_row, history)):
        raise MlrunError(f"{source} is damaged: its history is no list of epochs")
    epochs = [row["epoch"] for row in history]
    validated = [row["epoch"] for row in history if "valid/loss" in row]
    best_is_there = isinstance(state.get("best"), dict) and progress.best_epoch in validated
    in_order = len(epochs) == progress.epoch and epochs == [*range(1, len(epochs) + 1)]
    if not in_order or best_is_there != bool(validated):
        raise MlrunError(f"{source} is damaged: its history does not fit its progress")
    return progress


def _is_row(row: Any) -> bool:
    named = isinstance(row, dict) and all(isinstance(key, str) for key in row)
    named = named and type(row.get("epoch")) is int
    return named and all(map(_is_number, row.values()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _newest_unfinished(folder: Path) -> Path:
    if not folder.is_dir() or (folder / "run.json").is_file() or is_sweep(folder):
        return folder
    records = [file for depth in ("*", "*/*", "*/*/*") for file in folder.glob(f"{depth}/run.json")]
    records = [file for file in records if file.parent.parent.name != FOLDER]
    plain = [file for file in records if file.is_file() and not file.is_symlink()]
    unfinished = [file for file in plain if _status(file) in UNFINISHED]
    if not unfinished and not records:
        return folder  # let open_run say what it is
    if not unfinished:
        raise MlrunError(f"no unfinished run in {folder}")
    newest = max(unfinished, key=lambda file: file.stat().st_mtime).parent
    return newest.parent if is_sweep(newest.parent) else newest


def _status(file: Path) -> Any:
    try:
        record = read_json(file)
    except MlrunError:  # damaged: not the one to go on with
        return None
    return record.get("status") if isinstance(record, dict) else None


def configuration(run: RunFolder, state: State | None) -> Composed:
    """What the run was asked to do: as its checkpoint says, else as its run.json says."""
    if state is not None:
        return from_the_record(state["config"], run.last)
    return from_the_record(run.record.get("config"), run.path / "run.json")


def changed(config: Composed, overrides: Sequence[str]) -> Composed:
    """The configuration with what a resumed run may change.

    Raises:
        MlrunError: it may not change that.
    """
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals:
            raise MlrunError(f"'{override}': KEY=VALUE is wanted")
        if key not in MAY_CHANGE:
            raise MlrunError(
                f"{key} cannot change in a resumed run, which must go on exactly; only "
                f"{', '.join(MAY_CHANGE)} can. Start a new run for {override}"
            )
    try:
        changes = OmegaConf.from_dotlist(list(overrides))
        return composed(OmegaConf.merge(config.raw, changes))  # type: ignore[arg-type]
    except OmegaConfBaseException as error:
        raise MlrunError(str(error).splitlines()[0]) from error
