"""The progress display of a sweep: one live line, or plain lines from time to time."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from mlrun.report.console import LINES, REFRESH_SECONDS, duration
from mlrun.report.safe_console import plain_console
from mlrun.sweeps.journal import DONE, FAILED, RUNNING, STOPPED, WAITING
from mlrun.sweeps.points import Point
from mlrun.system.plain_text import one_line
from mlrun.training.metrics import higher_is_better


class SweepProgress:
    """Shows jobs done, failed and running, the best score and the time left.

    Args:
        jobs: total number of jobs.
        quiet: print nothing.
    """

    def __init__(self, jobs: int, *, quiet: bool) -> None:
        self.out = plain_console(quiet=quiet)
        self._status: dict[int, str] = {}
        self._jobs = jobs
        self._points: dict[int, Point] = {}  # started jobs
        self._seen: dict[int, float] = {}  # epochs of each started job
        self._training: dict[int, None] = {}  # the jobs of the last epoch
        self._printed: set[str] = set()
        self._best: tuple[float, Point] | None = None
        self._started = self._shown = time.monotonic()
        self._lines = 0
        columns = (BarColumn(12), TextColumn("{task.description}", markup=False))
        self._live = Progress(*columns, console=self.out, auto_refresh=False)
        self._task: TaskID = self._live.add_task("", total=1.0)

    def __enter__(self) -> "SweepProgress":
        if self.out.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.out.is_terminal:
            self._refresh()
            self._live.stop()
        elif self._lines < LINES:
            self.out.print(self._line())

    def epoch(self, numbers: Sequence[int]) -> None:
        """Count an epoch for these jobs."""
        for number in numbers:
            self._seen[number] += 1
        self._moved(numbers)

    def members(self, number: int, share: float) -> None:
        """Note which share of the epochs of an ensemble's members is done."""
        self._seen[number] = share * self._points[number].settings.trainer.epochs
        self._moved([number])

    def once(self, text: str) -> None:
        """Print a line, unless it was printed before."""
        if text not in self._printed:
            self._printed.add(text)
            self.out.print(one_line(text))

    def _moved(self, numbers: Sequence[int]) -> None:
        self._training = dict.fromkeys(numbers)
        if self.out.is_terminal and time.monotonic() - self._shown > REFRESH_SECONDS:
            self._refresh()

    def job(self, point: Point, status: str, facts: Mapping[str, Any]) -> None:
        """Record the start or the end of a job."""
        self._status[point.number] = status
        self._training.pop(point.number, None)
        self._points[point.number] = point
        if status == RUNNING:
            self._seen.setdefault(point.number, 0)
            return
        if status == WAITING:
            self._seen[point.number] = int(facts["epochs"])
            return
        self._seen[point.number] = point.settings.trainer.epochs
        score = facts.get("score")
        if status == DONE and isinstance(score, float):
            self._keep_best(score, point)
        ended = self._ended
        if not self.out.is_terminal and ended * LINES // self._jobs > self._lines:
            self._lines = ended * LINES // self._jobs
            self.out.print(self._line())

    def _keep_best(self, score: float, point: Point) -> None:
        trainer = point.settings.trainer
        sign = -1 if higher_is_better(trainer.monitor, trainer.mode) else 1
        if self._best is None or sign * score < sign * self._best[0]:
            self._best = score, point

    def _count(self, status: str) -> int:
        return sum(found == status for found in self._status.values())

    @property
    def _ended(self) -> int:
        return sum(map(self._count, (DONE, FAILED, STOPPED)))

    def _epochs(self) -> str:
        """Return the epoch of the jobs in training; of several, of the one with most to do."""
        epochs = {n: self._points[n].settings.trainer.epochs for n in self._training}
        if not epochs:
            return ""
        last = max(epochs, key=lambda number: epochs[number] - self._seen[number])
        return f" (epoch {self._seen[last]:.0f}/{epochs[last]})"

    def _refresh(self) -> None:
        self._shown = time.monotonic()
        self._live.update(self._task, completed=self._share, description=self._line())
        self._live.refresh()

    @property
    def _share(self) -> float:
        epochs = {number: p.settings.trainer.epochs for number, p in self._points.items()}
        return sum(seen / epochs[number] for number, seen in self._seen.items()) / self._jobs

    def _line(self) -> str:
        parts = [f"{self._ended}/{self._jobs} jobs"]
        if failed := self._count(FAILED):
            parts.append(f"{failed} failed")
        if stopped := self._count(STOPPED):
            parts.append(f"{stopped} stopped")
        if running := self._count(RUNNING):
            parts.append(f"{running} running{self._epochs()}")
        if self._best is not None:
            score, point = self._best
            parts.append(f"best {point.settings.trainer.monitor} {score:.4g} (job {point.number})")
        spent, share = time.monotonic() - self._started, self._share
        if 0 < share < 1:
            parts.append(f"eta {duration(spent / share * (1 - share))}")
        return "  ".join(parts)
