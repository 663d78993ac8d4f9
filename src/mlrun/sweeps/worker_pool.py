"""`hydra.launcher.per_device=2`: run the jobs of a sweep in several processes per GPU.

A process uses only one GPU, and trains a few jobs at a time, together where possible. The processes
and their parent communicate only through the journal.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mlrun.config.allowlist import allowed_now, allowing
from mlrun.errors import FailedFast, MlrunError
from mlrun.sweeps.folder import SweepFolder, joined_sweep, thawed
from mlrun.sweeps.job_cache import JobCache
from mlrun.sweeps.job_data import JobData
from mlrun.sweeps.jobs import Jobs
from mlrun.sweeps.points import Point
from mlrun.sweeps.progress import SweepProgress
from mlrun.system.safe_text import safe_streams
from mlrun.system.signals import OTHERS, Interrupted, interruptible

TURNS = 4  # per process; with fewer, some processes would wait for the last one
SECONDS_BETWEEN_LOOKS = 0.5
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class WorkerPool:
    """Runs jobs like `Jobs`, but in other processes.

    Args:
        jobs: the template for each process.
        per_device: processes for each GPU, or on the CPU if there is none.
    """

    jobs: Jobs
    per_device: int

    @property
    def progress(self) -> SweepProgress:
        """Shows the progress of all processes."""
        return self.jobs.progress

    def train(self, points: Sequence[Point], until: int | None = None) -> None:
        """Train every point from the state in its folder; see `Jobs.train`.

        Raises:
            FailedFast: a job failed and `fail_fast` is set.
            Interrupted: Ctrl-C or SIGTERM; the processes have stopped as well.
        """
        if not points:
            return
        jobs, slots = self.jobs, devices() * min(self.per_device, len(points))
        sweep, command = jobs.sweep, tuple(jobs.command)
        data, allow = points[0].settings.paths.data, allowed_now()
        cache = jobs.cache
        turns = [
            Turn(
                *(sweep.path, numbers, data, until, command, jobs.fail_fast, allow),
                resumed=cache.data is not None,
                moved=cache.folder,
            )
            for numbers in parts([point.number for point in points], TURNS * len(slots))
        ]
        with interruptible() as stop_if_requested, _workers(slots, sweep.path) as workers:
            futures = [workers.submit(take, turn) for turn in turns]
            looks = _Looks(sweep, jobs.progress, points)
            while wait(futures, SECONDS_BETWEEN_LOOKS).not_done:
                looks.look()
                stop_if_requested()
                _raise_first(futures)
            looks.look()
            stop_if_requested()
            _raise_first(futures)


@dataclass(frozen=True)
class Turn:
    """A batch of jobs for one process."""

    sweep: Path
    jobs: tuple[int, ...]
    data: str  # the data folder
    until: int | None
    command: tuple[str, ...]
    fail_fast: bool
    allow: tuple[str, ...]  # patterns for the user's own classes
    resumed: bool  # whether the sweep may come from a stranger
    moved: str | None  # --data


def take(turn: Turn) -> bool:
    """Run a turn in this process; return whether a failure stopped it."""
    sweep = joined_sweep(turn.sweep)
    entries = sweep.journal.read()
    progress = SweepProgress(len(turn.jobs), quiet=True)
    with safe_streams(), allowing(turn.allow), progress:
        points = [thawed(entries[number], sweep.journal.path, turn.data) for number in turn.jobs]
        cache = JobCache(data=JobData.of(sweep, turn.moved) if turn.resumed else None)
        jobs = Jobs(sweep, turn.command, progress, turn.fail_fast, cache)
        try:
            jobs.train(points, turn.until)
        except FailedFast:
            return True
        except Interrupted:  # sent by the parent process
            return False
    return False


def devices() -> list[str]:
    """Return CUDA_VISIBLE_DEVICES for each GPU, or one empty text without GPUs."""
    named = [name for name in os.environ.get(VISIBLE, "").split(",") if name]
    count = torch.cuda.device_count()
    return (named or [str(number) for number in range(count)])[:count] or [""]


def parts(numbers: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """Split into at most `count` parts of neighbours, which often differ only in the seed."""
    size = -(-len(numbers) // count)
    return [tuple(numbers[start : start + size]) for start in range(0, len(numbers), size)]


@contextmanager
def _workers(slots: Sequence[str], sweep: Path) -> Iterator[ProcessPoolExecutor]:
    """Start a process per slot; all of them end with the block.

    Raises:
        MlrunError: the system killed a process.
    """
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    for number, device in enumerate(slots):
        queue.put((device, _share_of_cores(number, len(slots))))
    pool = ProcessPoolExecutor(len(slots), context, initializer=_begin, initargs=(queue,))
    try:
        yield pool
    except BrokenProcessPool as error:
        gone = "a process of the sweep was killed (out of memory?)"
        raise MlrunError(f"{gone}; to continue: mlrun resume {sweep}") from error
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()  # like Ctrl-C: it finishes its step and saves
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        queue.close()


def _begin(queue: Any) -> None:
    """Set up a process."""
    device, cores = queue.get()
    if device:
        os.environ[VISIBLE] = device  # CUDA reads this at its first use
    if cores:
        os.sched_setaffinity(0, cores)
    for number in (signal.SIGINT, *OTHERS):  # the terminal sends them to all; the parent decides
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _share_of_cores(number: int, count: int) -> list[int]:
    """Return the cores for process `number` of `count`; empty if unknown (Linux only)."""
    usable = getattr(os, "sched_getaffinity", None)
    cores = sorted(usable(0)) if usable else []
    return cores[number::count] or [cores[number % len(cores)]] if cores else []


def _end_with_parent() -> None:
    """Exit if the parent is killed; its sweep can be resumed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _raise_first(futures: "Sequence[Future[bool]]") -> None:
    """Raise the error of a failed turn."""
    for future in futures:
        if future.done() and future.result():
            raise FailedFast


class _Looks:
    """Shows new events of the journal in the progress display."""

    def __init__(
        self, sweep: SweepFolder, progress: SweepProgress, points: Sequence[Point]
    ) -> None:
        self._sweep, self._progress = sweep, progress
        self._points = {point.number: point for point in points}
        entries = sweep.journal.read()
        self._seen = {number: entries[number].status for number in self._points}

    def look(self) -> None:
        """Read the journal and show new events."""
        entries = self._sweep.journal.read()
        for number, point in self._points.items():
            entry = entries[number]
            if entry.status != self._seen[number]:
                self._seen[number] = entry.status
                facts = {"score": entry.score, "epochs": entry.epochs}
                self._progress.job(point, entry.status, facts)
