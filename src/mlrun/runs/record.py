"""Write the files of a run: run.json at the end, the others during training."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from mlrun.errors import Diverged, FailedFast, MlrunError
from mlrun.report.profiler import Profiler
from mlrun.report.tensorboard import EventFile
from mlrun.runs.checkpoint import Checkpoints, State
from mlrun.runs.folder import RunFolder
from mlrun.runs.job import Job
from mlrun.runs.metrics_file import MetricsFile
from mlrun.system.provenance import now
from mlrun.system.safe_text import reason
from mlrun.system.seams import Place, reached
from mlrun.system.signals import Interrupted, number_of
from mlrun.training.loop import EpochRow, stop_reason
from mlrun.training.metrics import NAMES
from mlrun.training.objective import Objective
from mlrun.training.types import Progress

log = logging.getLogger(__name__)


@dataclass
class RunOutcome:
    """The status for run.json if no exception is raised."""

    status: str = "done"


@contextmanager
def outcome_written(run: RunFolder) -> Iterator[RunOutcome]:
    """Write the outcome of the block to run.json: done, interrupted, diverged or failed.

    Raises:
        MlrunError: instead of the system's error if a file cannot be written.
    """
    outcome = RunOutcome()
    try:
        yield outcome
        run.update(status=outcome.status, ended=now())
    except BaseException as raised:
        # Ctrl-C during scoring or plotting stops at once; the run can still be resumed.
        stop = isinstance(raised, KeyboardInterrupt)
        error = Interrupted(number_of(raised)) if stop else raised
        if isinstance(error, Interrupted):
            error.folder = run.path
        with suppress(OSError):  # the disk may have failed; report the first error
            if run.record:  # empty: the run ended before its start
                run.update(status=_status(error), error=reason(error), ended=now())
        expected = isinstance(error, MlrunError | Diverged | Interrupted | FailedFast)
        trace = None if expected else error
        log.error("%s: %s", _status(error), error, exc_info=trace, extra={"hidden": True})
        if isinstance(error, OSError) and not run.path.is_dir():
            gone = f"{run.path} was deleted or moved during the run"
            raise MlrunError(gone) from error
        if isinstance(error, OSError):
            file = error.filename or run.path
            raise MlrunError(f"cannot write {file}: {error.strerror}") from error
        raise error from error.__cause__


def _status(error: BaseException) -> str:
    if isinstance(error, Diverged):
        return "diverged"
    return "interrupted" if isinstance(error, Interrupted | FailedFast) else "failed"


class Record:
    """The files that grow with every epoch; a context manager around the training loop."""

    def __init__(
        self,
        run: RunFolder,
        job: Job,
        progress: Progress,
        *,
        resumed: State | None = None,
    ) -> None:
        dataset, settings = job.dataset, job.settings
        self.history: list[EpochRow] = list(resumed["history"]) if resumed else []
        self._run, self._learner, self._progress = run, job.learner, progress
        self._trainer = settings.trainer
        self._metrics = MetricsFile(run.metrics, _columns(job.learner.objective), self.history)
        self._checkpoints = Checkpoints(
            run,
            every_seconds=settings.checkpoint.every_seconds,
            best=resumed["best"] if resumed else None,
            described={
                "config": job.plain_config,
                "spec": asdict(dataset.spec),
                "contract": dataset.contract,
                "examples": dataset.examples,
            },
        )
        self._profiler = Profiler(run.path) if settings.trainer.profile else None
        self._events = EventFile(run.path / "tensorboard")
        self._events.hyperparameters(_hyperparameters(job.plain_config))
        for row in self.history:
            self._events.epoch(row)

    def __enter__(self) -> "Record":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write everything trained and measured so far, even after an exception."""
        try:
            reached(Place.RECORD_CLOSING, run=self._run.path)
            self._metrics.flush()
            self._checkpoints.write(self.history)
        finally:
            self._events.close()

    def epoch(self, row: EpochRow | Diverged) -> EpochRow:
        """Record the row of an epoch and return it.

        Raises:
            Diverged: the epoch diverged; the weights are those before the failed step.
        """
        if isinstance(row, Diverged):
            raise row
        facts = {"run": self._run.path, "epoch": row["epoch"]}
        reached(Place.EPOCH_RECORDING, **facts)
        self.history.append(row)
        self._metrics.add(row)
        self._events.epoch(row)
        self._checkpoints.take(self._learner, self._progress)
        if self._checkpoints.due:
            self._checkpoints.write(self.history)
        epoch, epochs = self._progress.epoch, self._trainer.epochs
        if self._profiler and (table := self._profiler.epoch(epoch, epochs)):
            log.info("%s", table)
        reached(Place.EPOCH_RECORDED, **facts)
        return row

    def finish(self, until: int | None = None) -> None:
        """Record the end of the training and load the best weights into the model.

        Args:
            until: the epoch of a pause by successive halving.
        """
        progress = self._progress
        self._checkpoints.load_best(self._learner)
        best = {"best_epoch": progress.best_epoch, "best_score": progress.best_score}
        stopped = stop_reason(progress, self._trainer, until)
        self._run.note(epochs=progress.epoch, **best, stopped=stopped)


def _columns(objective: Objective) -> list[str]:
    own = (metric.name for metric in objective.metrics)
    scores = [f"valid/{name}" for name in ("loss", *NAMES[objective.spec.kind], *own)]
    return ["epoch", "step", "lr", "train/loss", *scores, "seconds"]


def _hyperparameters(config: Mapping[str, Any]) -> dict[str, Any]:
    groups = ("seed", "model", "loss", "optimizer", "scheduler", "metric", "trainer")
    return _flat({name: config[name] for name in groups if name in config})


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, Mapping):
        return {prefix.removesuffix("."): node}
    return {k: v for key in node for k, v in _flat(node[key], f"{prefix}{key}.").items()}
