"""mlrun from Python, and which kind of run a command asks for: one model, members, or a sweep."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mlrun.config.schema import settings_of
from mlrun.config.values import Composed
from mlrun.errors import MlrunError
from mlrun.runs.ensemble import is_ensemble
from mlrun.runs.folder import is_sweep, open_run
from mlrun.runs.members import resume_members, train_members
from mlrun.runs.resume import newest_unfinished, resume_run
from mlrun.runs.single import train_run
from mlrun.system import processes


def train_composed(
    config: Composed,
    make_folder: Callable[[], Path],
    *,
    command: Sequence[str],
    overrides: Sequence[str],
) -> float:
    """Train what a composed configuration describes: one model, or members.

    Args:
        config: the whole configuration.
        make_folder: creates the empty run folder; called once all else is known to be fine.
        command: the command line, for the record.
        overrides: what the user changed, for the record.

    Returns:
        The best epoch's monitored score, for sweeps.

    Raises:
        MlrunError: a user's mistake (no folder was made), or a disk that refuses to be written.
        Diverged: the loss is not finite any more; the best weights so far are in the folder.
        Interrupted: Ctrl-C or SIGTERM; likewise.
    """
    settings = settings_of(config.values)
    if settings.seeds or settings.folds:
        processes.refuse("seeds or folds")
        return train_members(config, settings, make_folder, command=command, overrides=overrides)
    return train_run(config, settings, make_folder, command=command, overrides=overrides)


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
    path = newest_unfinished(Path(folder))
    if is_sweep(path):
        from mlrun.sweeps.resume import resume_sweep

        processes.refuse("a sweep")
        if overrides:
            raise MlrunError(f"{path} is a sweep, whose jobs stay as they are: no {overrides[0]}")
        resume_sweep(path, data=data, failed=failed)
        return
    if failed:
        raise MlrunError(f"{path} is no sweep: --failed is for those")
    run = open_run(path)
    if is_ensemble(run):
        processes.refuse("seeds or folds")
        resume_members(run, overrides, data=data)
    else:
        resume_run(run, overrides, data=data)
