"""`sweep.halving=3`: all jobs start, and at every rung only the best third continues.

Successive halving (Jamieson and Talwalkar, AISTATS 2016) over epochs. A stopped job is a run like
one that reached its time limit: it has a pred.csv, and `mlrun resume` trains it to the end.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from mlrun.errors import MlrunError
from mlrun.sweeps.folder import SweepFolder
from mlrun.sweeps.grid import without_seed
from mlrun.sweeps.jobs import Jobs
from mlrun.sweeps.journal import DONE, FAILED, STOPPED, WAITING, Entry
from mlrun.sweeps.points import Point
from mlrun.sweeps.worker_pool import WorkerPool
from mlrun.training.metrics import higher_is_better


def check_comparable(points: Sequence[Point]) -> None:
    """Check that the points can be compared at the same epochs.

    Raises:
        MlrunError: naming the reason.
    """
    first = points[0].settings
    if first.sweep.objectives:
        raise MlrunError("sweep.halving compares trainer.monitor only; remove sweep.objectives")
    for point in points:
        settings = point.settings
        if (settings.task, settings.trainer.monitor) != (first.task, first.trainer.monitor):
            raise MlrunError("sweep.halving: all jobs must have the same task and trainer.monitor")
        if settings.trainer.epochs != first.trainer.epochs:
            raise MlrunError("sweep.halving: all jobs must have the same trainer.epochs")
        if settings.seeds or settings.folds or settings.trainer.max_minutes:
            raise MlrunError(
                "sweep.halving cannot be combined with seeds, folds or trainer.max_minutes"
            )
    factor, epochs = first.sweep.halving or 2, first.trainer.epochs
    if not rungs(epochs, _count(points), factor):
        few = f"{_count(points)} settings of {epochs} epochs"
        raise MlrunError(f"sweep.halving={factor}: too few jobs or epochs ({few})")


def rungs(epochs: int, jobs: int, factor: int) -> list[int]:
    """Return the epochs after which jobs are stopped."""
    count = int(math.log(jobs, factor) + 1e-9)
    found = [epochs // factor**step for step in range(count, 0, -1)]
    return sorted({epoch for epoch in found if epoch > 0})


def train_by_rungs(sweep: SweepFolder, jobs: Jobs | WorkerPool, points: Sequence[Point]) -> None:
    """Train rung by rung, starting from the state of the journal."""
    trainer, factor = points[0].settings.trainer, points[0].settings.sweep.halving or 2
    left = _count(points)
    _tell_what_has_ended(sweep, jobs, points)
    for epoch in rungs(trainer.epochs, left, factor):
        left = -(-left // factor)
        entries = sweep.journal.read()
        behind = [p for p in points if _is_behind(entries[p.number], epoch)]
        jobs.train(behind, until=epoch)
        for stopped in _stop_the_worst(sweep, points, epoch, left):
            jobs.progress.job(stopped, STOPPED, {})
    entries = sweep.journal.read()
    jobs.train([p for p in points if _is_behind(entries[p.number], trainer.epochs)])


def _count(points: Sequence[Point]) -> int:
    """Return the number of settings."""
    return len({without_seed(point.overrides) for point in points})


def _tell_what_has_ended(
    sweep: SweepFolder, jobs: Jobs | WorkerPool, points: Sequence[Point]
) -> None:
    entries = sweep.journal.read()
    for point in points:
        entry = entries[point.number]
        if entry.status in (DONE, FAILED, STOPPED):
            jobs.progress.job(point, entry.status, {"score": entry.score})


def _is_behind(entry: Entry, epoch: int) -> bool:
    return entry.status not in (FAILED, STOPPED, DONE) and (entry.epochs or 0) < epoch


def _stop_the_worst(
    sweep: SweepFolder, points: Sequence[Point], epoch: int, left: int
) -> list[Point]:
    """Stop all but the best `left` settings at this epoch; one journal write for all of them.

    Seeds are repetitions: a setting continues or stops with all of its jobs.
    """
    known = sweep.journal.read()
    entries = [known[point.number] for point in points]
    if any(entry.status == STOPPED and entry.epochs == epoch for entry in entries):
        return []  # already done before a crash
    trainer = points[0].settings.trainer
    sign = -1 if higher_is_better(trainer.monitor, trainer.mode) else 1
    there = [e for e in entries if e.status not in (FAILED, STOPPED) and e.score is not None]
    settings: dict[tuple[str, ...], list[Entry]] = {}
    for entry in there:
        settings.setdefault(without_seed(entry.overrides), []).append(entry)
    order = sorted(settings.values(), key=lambda jobs: sign * fmean(e.score or 0.0 for e in jobs))
    worst = [entry for jobs in order[left:] for entry in jobs if entry.status == WAITING]
    sweep.journal.add(*({"job": entry.job, "status": STOPPED} for entry in worst))
    return [point for point in points if point.number in {entry.job for entry in worst}]
