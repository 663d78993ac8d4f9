"""resume SWEEP: run the unfinished jobs of a sweep, as frozen at its start."""

import os
from collections.abc import Sequence
from pathlib import Path

from mlrun.data.locate import DEFAULT_DATA
from mlrun.errors import MlrunError
from mlrun.report.safe_console import plain_console
from mlrun.runs.data import own_folder
from mlrun.runs.folder import RunFolder, has_begun, locked
from mlrun.sweeps.folder import SweepFolder, end_recorded, open_sweep, thawed
from mlrun.sweeps.halving import check_comparable
from mlrun.sweeps.job_cache import JobCache
from mlrun.sweeps.job_data import JobData
from mlrun.sweeps.journal import FAILED, QUEUED, RUNNING, WAITING, Entry
from mlrun.sweeps.launch import concluded, train_points
from mlrun.sweeps.points import Point
from mlrun.sweeps.search_record import SEARCH


def resume_sweep(path: Path, *, data: str | None, failed: bool = False) -> None:
    """Run queued jobs and continue running ones; finished jobs stay.

    Args:
        path: the sweep folder, which may come from a stranger.
        data: a folder with its data files, if they were moved.
        failed: also repeat failed jobs.

    Raises:
        MlrunError: another process runs the sweep, it is damaged or refused, or `data` does not
            exist.
        JobsFailed: some jobs failed.
        Interrupted: Ctrl-C or SIGTERM.
    """
    sweep = open_sweep(path)
    own_folder(data)
    with locked(RunFolder(path)):
        read = JobData.of(sweep, data)
        if SEARCH in sweep.record:
            _resume_search(sweep, read)
        else:
            _resume_grid(sweep, read, failed=failed)


def _resume_search(sweep: SweepFolder, data: JobData) -> None:
    from mlrun.sweeps.search import resumed

    search = resumed(sweep, _data_folder(sweep, data))
    with concluded(sweep, quiet=False), end_recorded(sweep):
        sweep.update(status="running")
        search.go_on(JobCache(data=data))


def _resume_grid(sweep: SweepFolder, data: JobData, *, failed: bool) -> None:
    entries, folder = sweep.journal.read(), _data_folder(sweep, data)
    points = [thawed(entry, sweep.journal.path, folder) for entry in entries.values()]
    left = [p for p in points if _is_left(entries[p.number], sweep.path, failed=failed)]
    _check(sweep, points, left, data)
    if not left:
        plain_console().print(f"nothing left to do: all {len(entries)} jobs have ended")
    quiet = points[0].settings.quiet
    with concluded(sweep, quiet=quiet), end_recorded(sweep):
        if left:
            plain_console(quiet=quiet).print(f"resuming {sweep.path}: {len(left)} jobs left")
            sweep.update(status="running")
            these = points if points[0].settings.sweep.halving else left
            train_points(sweep, these, JobCache(data=data))


def _check(
    sweep: SweepFolder, points: Sequence[Point], left: Sequence[Point], data: JobData
) -> None:
    """Check what the start of a sweep checks, before anything is written.

    Raises:
        MlrunError: there are no jobs, they cannot be compared, or they may not read their data.
    """
    if not points:
        raise MlrunError(f"{sweep.journal.path} has no jobs")
    if points[0].settings.sweep.halving:
        check_comparable(points)
    data.check([p for p in left if not has_begun(RunFolder(sweep.path / p.folder))])


def _data_folder(sweep: SweepFolder, data: JobData) -> str:
    """Return the folder of data files that was not recorded, because it came from outside."""
    folder = data.folder or str(sweep.record.get("folder") or "")
    if folder and Path(folder).is_dir():
        return folder
    return os.environ.get("MLRUN_DATA") or str(DEFAULT_DATA)


def _is_left(entry: Entry, sweep: Path, *, failed: bool) -> bool:
    """Whether the job must run, also because its folder is missing."""
    if entry.status == FAILED:
        return failed
    gone = not (sweep / entry.folder / "run.json").is_file()
    return gone or entry.status in (QUEUED, RUNNING, WAITING)
