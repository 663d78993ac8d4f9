"""Read the data before a sweep starts: an error that all of its jobs share refuses the sweep."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from logging.handlers import MemoryHandler

from mlrun.config.build import build
from mlrun.config.recorded import check_lookups
from mlrun.data.dataset import Dataset
from mlrun.errors import MlrunError
from mlrun.report.log_file import log_taken_over
from mlrun.report.safe_console import plain_console
from mlrun.sweeps.points import Point

LOCAL = ("mlrun", "basic", "joblib", "submitit_local")  # launchers of jobs on this machine


@dataclass(frozen=True)
class FirstLook:
    """A dataset that was read before the sweep started, and the messages about it."""

    key: str  # its settings
    dataset: Dataset
    messages: list[logging.LogRecord] = field(default_factory=list)

    def show(self, *, quiet: bool) -> None:
        """Print the messages, as a single run does."""
        out = plain_console(quiet=quiet)
        for record in self.messages:
            out.print(record.getMessage())

    def log(self) -> None:
        """Log the messages again, for the first job on this dataset."""
        for record in self.messages:
            logging.getLogger(record.name).handle(record)


def data_key(point: Point) -> str:
    """Return a text that is equal for points with the same data settings."""
    return json.dumps(point.config.values["data"])


def look_at_data(points: Sequence[Point], launcher: str = "mlrun") -> FirstLook | None:
    """Return the first dataset that can be read; None if that is left to the jobs.

    Args:
        points: the jobs.
        launcher: the name of Hydra's launcher; data on another machine cannot be read here.

    Raises:
        MlrunError: no job can read its data.
    """
    if launcher not in LOCAL:
        return None
    first: MlrunError | None = None
    for key, point in {data_key(point): point for point in reversed(points)}.items():
        handler = MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1)
        try:
            check_lookups(point.config)
            with log_taken_over(handler):
                return FirstLook(key, build("data", point.config.values).load(), handler.buffer)
        except MlrunError as error:
            first = error
        except Exception:  # a bug: each job reports it in its run.log
            return None
    assert first is not None
    raise MlrunError(f"no job can start: {first}") from first
