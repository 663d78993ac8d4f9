"""resume: continue a run from its folder, with the same bits as an uninterrupted run."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from mlrun.config.recorded import for_the_record
from mlrun.errors import MlrunError
from mlrun.report.console import Console
from mlrun.runs.ensemble import MEMBERS_FOLDER
from mlrun.runs.finish import finish
from mlrun.runs.folder import RunFolder, is_sweep, locked
from mlrun.runs.record import outcome_written
from mlrun.runs.single import follow, training
from mlrun.runs.stopped import Stopped, ended_at_zero, read_stopped, rebuild, tidy_up
from mlrun.system import processes
from mlrun.system.files import read_json
from mlrun.training.distributed import joined
from mlrun.training.loop import finished

log = logging.getLogger(__name__)

UNFINISHED = ("running", "interrupted", "failed")


def resume_run(run: RunFolder, overrides: Sequence[str], *, data: str | None) -> None:
    """Continue one run; the arguments are those of `api.resume`.

    Raises:
        MlrunError: like `api.resume`.
    """
    with locked(run) if processes.rank() == 0 else nullcontext():
        stopped = read_stopped(run, overrides)
        progress, settings = stopped.progress, stopped.settings
        with joined(settings.device) as group, Console(quiet=settings.quiet) as console:
            if finished(progress, settings.trainer) and run.record.get("status") == "done":
                _print_nothing_to_do(console, stopped)
                return
            with group.first_before_others():
                job = rebuild(stopped, data)
            if group.rank:
                follow(job, progress)
                return
            console.log_to(run.log)
            log.info("resuming %s after epoch %d", run.path, progress.epoch)
            with outcome_written(run) as outcome:
                tidy_up(stopped)
                config = for_the_record(stopped.config)
                run.update(status="running", resumed_after=progress.epoch, config=config)
                with training(run, job, console, progress, stopped.state) as (epochs, record):
                    for [(_, result)] in epochs:
                        row = record.epoch(result)
                        console.epoch(row, progress.best_epoch, progress.best_score)
                outcome.status = finish(run, job, progress, record.history, console)


def _print_nothing_to_do(console: Console, stopped: Stopped) -> None:
    epoch, trainer = stopped.progress.epoch, stopped.settings.trainer
    patient = epoch < trainer.epochs
    why = f"; early stopping (no improvement for {trainer.patience} epochs)" if patient else ""
    change = "trainer.patience" if patient else "trainer.epochs"
    console.out.print(f"nothing left to do: {epoch} epochs are done{why}")
    if not patient and ended_at_zero(stopped):
        console.out.print("its learning rate is 0 now; to train longer, start a new run")
    else:
        console.out.print(f"to continue: mlrun resume {stopped.run.path} {change}=…")


def newest_unfinished(folder: Path) -> Path:
    """Return the run or sweep to resume: `folder`, or the newest unfinished one below it.

    Raises:
        MlrunError: all runs below it are done.
    """
    if not folder.is_dir() or (folder / "run.json").is_file() or is_sweep(folder):
        return folder
    records = [file for depth in ("*", "*/*", "*/*/*") for file in folder.glob(f"{depth}/run.json")]
    records = [file for file in records if file.parent.parent.name != MEMBERS_FOLDER]
    plain = [file for file in records if file.is_file() and not _through_link(file, folder)]
    unfinished = [file for file in plain if _status(file) in UNFINISHED]
    if not unfinished and not records:
        return folder  # open_run reports the error
    if not unfinished:
        raise MlrunError(f"no unfinished run in {folder}")
    newest = max(unfinished, key=lambda file: file.stat().st_mtime).parent
    return newest.parent if is_sweep(newest.parent) else newest


def _through_link(file: Path, folder: Path) -> bool:
    """Whether a link below `folder` leads to the file."""
    steps = [file, *file.parents]
    return any(step.is_symlink() for step in steps[: steps.index(folder)])


def _status(file: Path) -> Any:
    try:
        record = read_json(file)
    except MlrunError:  # damaged: cannot be resumed
        return None
    return record.get("status") if isinstance(record, dict) else None
