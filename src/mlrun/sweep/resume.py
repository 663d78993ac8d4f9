"""resume SWEEP: what is not done of a sweep, as it was frozen when the sweep began."""

import os
from pathlib import Path

from mlrun.data.files import DEFAULT_DATA
from mlrun.report.console import say
from mlrun.sweep.folder import at_work, open_sweep, thawed
from mlrun.sweep.journal import QUEUED, RUNNING, WAITING
from mlrun.sweep.launch import carry_out, concluded


def resume_sweep(path: Path, *, data: str | None) -> None:
    """Run what is queued, go on with what was running; what is done or failed stays.

    Args:
        path: the sweep folder.
        data: where its data files are now, if not where they were.

    Raises:
        MlrunError: another process is at it, or it cannot be read.
        JobsFailed: jobs did.
        Interrupted: Ctrl-C or SIGTERM.
    """
    from mlrun.sweep.search import resume_search

    sweep = open_sweep(path)
    with at_work(sweep):
        entries = sweep.journal.read()
        folder = data or os.environ.get("MLRUN_DATA") or str(DEFAULT_DATA)
        if "search" in sweep.record:
            with concluded(sweep, quiet=False):
                sweep.update(status="running")
                resume_search(sweep, folder)
            return
        points = [thawed(entry, sweep.journal.path, folder) for entry in entries.values()]
        left = [p for p in points if entries[p.number].status in (QUEUED, RUNNING, WAITING)]
        if not left:
            say(f"nothing left to do: all {len(entries)} jobs have ended")
        with concluded(sweep, quiet=points[0].settings.quiet):
            if left:
                sweep.update(status="running")
                carry_out(sweep, points if points[0].settings.sweep.halving else left)
