"""Run the jobs of a sweep in this process: prepare, group, train together, record."""

import io
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mlrun.errors import Diverged, FailedFast, MlrunError
from mlrun.report.console import Console, epoch_lines
from mlrun.report.log_file import logged_to
from mlrun.runs.announce import announce
from mlrun.runs.first_record import write_first_record, write_for_people
from mlrun.runs.folder import RUN_FORMAT, RunFolder, has_begun, open_run
from mlrun.runs.group import PreparedRun, in_groups, train_together
from mlrun.runs.members import resume_members, train_members
from mlrun.sweeps.folder import SweepFolder
from mlrun.sweeps.grouping import alike, is_of_several, waits
from mlrun.sweeps.job_cache import JobCache
from mlrun.sweeps.job_data import record_data
from mlrun.sweeps.journal import DONE, FAILED, RUNNING, WAITING, invalid
from mlrun.sweeps.points import Point
from mlrun.sweeps.progress import SweepProgress
from mlrun.sweeps.summary import write_summary
from mlrun.system.files import as_line
from mlrun.system.safe_text import reason
from mlrun.system.signals import Interrupted
from mlrun.training.loop import EpochRow
from mlrun.training.metrics import SIZE
from mlrun.training.types import Progress

log = logging.getLogger(__name__)

SUMMARY_SECONDS = 10.0


@dataclass
class Jobs:
    """Runs the jobs of a sweep and records their events in the journal.

    Args:
        sweep: the folder of the sweep.
        command: the command line, for the records of the jobs.
        progress: shows the progress.
        fail_fast: whether the first failure stops the sweep.
        cache: prepares the jobs.
    """

    sweep: SweepFolder
    command: Sequence[str]
    progress: SweepProgress
    fail_fast: bool
    cache: JobCache = field(default_factory=JobCache)
    _points: dict[Path, Point] = field(default_factory=dict)
    _until: int | None = None
    _summarised: float = field(default_factory=time.monotonic)

    def train(self, points: Sequence[Point], until: int | None = None) -> None:
        """Train every point from the state in its folder, together where the engine can.

        Args:
            points: the jobs.
            until: pause after this epoch.

        Raises:
            FailedFast: a job failed and `fail_fast` is set.
            Interrupted: Ctrl-C or SIGTERM.
        """
        self._points = {self.sweep.path / point.folder: point for point in points}
        self._until = until
        runs = self._begun(point for point in points if not is_of_several(point))
        for group in in_groups(runs, alike=alike):
            with logged_to(self.sweep.path / "sweep.log"):
                self._train(group)
            self._summarise()
        for point in filter(is_of_several, points):
            self._train_members(point)

    def _summarise(self) -> None:
        """Update summary.csv from time to time."""
        if time.monotonic() - self._summarised > SUMMARY_SECONDS:
            write_summary(self.sweep)
            self._summarised = time.monotonic()

    # --- the start of a job ---

    def _begun(self, points: Iterable[Point]) -> Iterator[PreparedRun]:
        for point in points:
            run = RunFolder(self.sweep.path / point.folder)
            run.path.mkdir(parents=True, exist_ok=True)
            self._note(run, RUNNING)
            try:
                with logged_to(run.log):
                    prepared = self._prepared(run, point)
                if prepared is None:
                    self._succeed(open_run(run.path))
            except Exception as error:  # any error: the other jobs continue
                self._fail(run, error)
            else:
                if prepared is not None:
                    yield prepared

    def _prepared(self, run: RunFolder, point: Point) -> PreparedRun | None:
        """Return the run to train; None if it was done, but not yet in the journal."""
        if has_begun(run):
            run = open_run(run.path)
            if run.record["status"] == "done":
                return None
            if run.record["status"] == "diverged":
                raise Diverged(run.entry("error", str))
            return self.cache.stopped(run)
        job = self.cache.job(point)
        files = self.cache.provenance(job.dataset)["data"]
        record_data(self.sweep, point.recorded, files, sample=job.dataset.sample)
        if job.dataset.sample:
            self.progress.once("SAMPLE DATA: found no data files; scores mean nothing")
        if job.not_native:
            self.progress.once(f"the native engine was not used: {job.not_native}")
        announce(Console(quiet=True), job)
        write_for_people(run, point.config, point.overrides)
        provenance = self.cache.provenance(job.dataset)
        write_first_record(
            run, job, config=job.plain_config, command=self.command, provenance=provenance
        )
        return PreparedRun(run, job, Progress(), None)

    # --- the training of a job ---

    def _train(self, group: Sequence[PreparedRun]) -> None:
        """Train a group; if that fails, train one by one, so that errors stay separate."""
        left = [*group]

        def ended(prepared: PreparedRun, error: Exception | None) -> None:
            left.remove(prepared)
            self._end(prepared, error)

        try:
            train_together(group, show=self._show, ended=ended, until=self._until, in_step=False)
        except (Interrupted, FailedFast):
            raise
        except Exception as error:
            if len(group) == 1:
                self._fail(group[0].run, error)
                return
            for prepared in left:
                self._train_again(prepared.run)

    def _show(self, results: Sequence[tuple[PreparedRun, EpochRow]]) -> None:
        self.progress.epoch([self._points[one.run.path].number for one, _ in results])

    def _train_again(self, run: RunFolder) -> None:
        try:
            with logged_to(run.log):
                prepared = self.cache.stopped(open_run(run.path))
        except Exception as error:
            self._fail(run, error)
        else:
            self._train([prepared])

    def _train_members(self, point: Point) -> None:
        """Train a job that is itself an ensemble."""
        run = RunFolder(self.sweep.path / point.folder)
        self._note(run, RUNNING)
        try:
            watch, data = partial(self.progress.members, point.number), self.cache.data
            with redirect_stdout(io.StringIO()):
                if has_begun(run):
                    resume_members(open_run(run.path), (), data=self.cache.folder, watch=watch)
                else:
                    train_members(
                        point.config,
                        point.settings,
                        _maker(run.path),
                        command=self.command,
                        overrides=point.overrides,
                        watch=watch,
                        load=partial(data.load, point.overrides) if data is not None else None,
                    )
        except Interrupted:
            raise
        except Exception as error:
            self._fail(run, error)
        else:
            self._succeed(open_run(run.path))

    # --- the end of a job ---

    def _end(self, prepared: PreparedRun, error: Exception | None) -> None:
        with logged_to(prepared.run.log):
            for line in epoch_lines(prepared.history):
                log.info("%s", line)
        if error is None:
            self._succeed(prepared.run, waits=waits(prepared))
        else:
            self._fail(prepared.run, error)

    def _succeed(self, run: RunFolder, *, waits: bool = False) -> None:
        record = run.record
        facts = {name: record.get(name) for name in ("best_epoch", "epochs")}
        if names := self._points[run.path].settings.sweep.objectives:
            facts["objectives"] = {name: _reached(record, name) for name in names}
        facts["score"] = record.get("best_score")
        if wrong := invalid(json.loads(as_line(facts))):
            raise MlrunError(f"{run.path / 'run.json'} is damaged: no valid {wrong}")
        self._note(run, WAITING if waits else DONE, **facts)

    def _fail(self, run: RunFolder, error: Exception) -> None:
        why = reason(error)
        known = isinstance(error, MlrunError | Diverged)
        if not (run.record or has_begun(run)):
            point = self._points[run.path]
            run.update(format=RUN_FORMAT, status="failed", error=why, seed=point.settings.seed)
            write_for_people(run, point.config, point.overrides)
        with logged_to(run.log):
            log.error("failed: %s", why, exc_info=None if known else error)
        self._note(run, FAILED, error=why)
        if self.fail_fast:
            raise FailedFast

    def _note(self, run: RunFolder, status: str, **facts: object) -> None:
        point = self._points[run.path]
        self.sweep.journal.add({"job": point.number, "status": status, **facts})
        self.progress.job(point, status, facts)


def _reached(record: Mapping[str, Any], objective: str) -> float | None:
    """Return the value of an objective: of the best epoch, or out of fold."""
    scores = record.get("metrics", {})
    valid = scores.get("valid") or scores.get("out_of_fold", {})
    known = {SIZE: record.get(SIZE)} | {f"valid/{name}": value for name, value in valid.items()}
    return known.get(objective)


def _maker(path: Path) -> Callable[[], Path]:
    def make() -> Path:
        path.mkdir(parents=True, exist_ok=True)
        return path

    return make
