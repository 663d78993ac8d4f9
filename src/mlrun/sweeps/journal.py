"""journal.jsonl: the jobs of a sweep and their events, one line per event.

Lines are only appended, each batch with one write, under a lock shared by all processes of a sweep
on one file system. The next writer removes a line that a crash cut off.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from filelock import FileLock

from mlrun.errors import MlrunError
from mlrun.system.files import as_line, read_text

QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
WAITING = "waiting"  # until the other jobs reach this rung; only the best continue
STOPPED = "stopped"  # not among the best


@dataclass(frozen=True)
class Entry:
    """The state of a job: its last event, with values from earlier events."""

    job: int
    status: str
    overrides: tuple[str, ...] = ()
    config: Mapping[str, Any] | None = None  # without secrets and paths
    places: Mapping[str, str] | None = None  # paths with references, unresolved
    folder: str = ""  # relative to the sweep folder
    score: float | None = None  # monitored score of the best epoch
    best_epoch: int | None = None
    epochs: int | None = None
    objectives: Mapping[str, float | None] | None = None  # values of sweep.objectives
    error: str = ""


_NAMES = {field.name for field in fields(Entry)}


class Journal:
    """The journal of one sweep folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.jsonl"
        self._lock = FileLock(folder / ".journal.lock")

    def add(self, *events: Mapping[str, Any]) -> None:
        """Append events, all or none; each has `job`, `status` and further values."""
        lines = b"".join(as_line(event) for event in events)
        with self._lock, self._open() as file:
            os.write(file, lines)
            if any(
                event["status"] != RUNNING for event in events
            ):  # otherwise the job's folder shows it
                os.fsync(file)

    @contextmanager
    def _open(self) -> Iterator[int]:
        """Open the file for appending; remove an incomplete last line."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            end = os.lseek(file, 0, os.SEEK_END)
            written = os.pread(file, end, 0) if end and os.pread(file, 1, end - 1) != b"\n" else b""
            if written:
                end = written.rfind(b"\n") + 1
                os.ftruncate(file, end)
            os.lseek(file, end, os.SEEK_SET)
            yield file
        finally:
            os.close(file)

    def read(self) -> dict[int, Entry]:
        """Return job → state, ordered by job number.

        Raises:
            MlrunError: the journal is missing or damaged.
        """
        known: dict[int, dict[str, Any]] = {}
        for event in self._events():
            known.setdefault(event["job"], {}).update(
                {"error": ""} | event
            )  # the job may be repeated
        return {job: _entry(known[job], self.path) for job in sorted(known)}

    def _events(self) -> Iterable[dict[str, Any]]:
        text = read_text(self.path)
        whole = text[: text.rfind("\n") + 1]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                event = None
            if not isinstance(event, dict) or type(event.get("job")) is not int:
                raise MlrunError(f"{self.path} is damaged in line {number}")
            yield event


def _entry(known: Mapping[str, Any], path: Path) -> Entry:
    fields = {name: value for name, value in known.items() if name in _NAMES}
    if fields.get("status") not in (QUEUED, RUNNING, DONE, FAILED, WAITING, STOPPED):
        raise MlrunError(f"{path} is damaged: job {known['job']} has no status")
    return Entry(**fields | {"overrides": tuple(fields.get("overrides", ()))})
