"""resume SWEEP: run the unfinished jobs of a sweep, as frozen at its start."""

import os
from pathlib import Path

from mlrun.data.locate import DEFAULT_DATA
from mlrun.errors import MlrunError
from mlrun.report.safe_console import plain_console
from mlrun.sweeps.folder import at_work, open_sweep, thawed
from mlrun.sweeps.journal import FAILED, QUEUED, RUNNING, WAITING, Entry
from mlrun.sweeps.launch import concluded, train_points


def resume_sweep(path: Path, *, data: str | None, failed: bool = False) -> None:
    """Run queued jobs and continue running ones; finished jobs stay.

    Args:
        path: the sweep folder.
        data: a folder with its data files, if they were moved.
        failed: also repeat failed jobs.

    Raises:
        MlrunError: another process runs the sweep, it is unreadable, or `data` does not exist.
        JobsFailed: some jobs failed.
        Interrupted: Ctrl-C or SIGTERM.
    """
    sweep = open_sweep(path)
    if data is not None and not Path(data).is_dir():
        raise MlrunError(f"--data {data}: no such folder")
    with at_work(sweep):
        folder = data or str(sweep.record.get("folder") or "")
        if not folder or not Path(folder).is_dir():
            folder = os.environ.get("MLRUN_DATA") or str(DEFAULT_DATA)
        if "search" in sweep.record:
            from mlrun.sweeps.search import resume_search

            with concluded(sweep, quiet=False):
                sweep.update(status="running")
                resume_search(sweep, folder)
            return
        entries = sweep.journal.read()
        points = [thawed(entry, sweep.journal.path, folder) for entry in entries.values()]
        left = [p for p in points if _is_left(entries[p.number], path, failed=failed)]
        if not left:
            plain_console().print(f"nothing left to do: all {len(entries)} jobs have ended")
        quiet = points[0].settings.quiet
        with concluded(sweep, quiet=quiet):
            if left:
                plain_console(quiet=quiet).print(f"resuming {path}: {len(left)} jobs left")
                sweep.update(status="running")
                train_points(sweep, points if points[0].settings.sweep.halving else left)


def _is_left(entry: Entry, sweep: Path, *, failed: bool) -> bool:
    """Whether the job must run, also because its folder is missing."""
    if entry.status == FAILED:
        return failed
    gone = not (sweep / entry.folder / "run.json").is_file()
    return gone or entry.status in (QUEUED, RUNNING, WAITING)
