"""journal.jsonl: the jobs of a sweep and their events, one line per event.

Lines are only appended, each batch with one write, under a lock shared by all processes of a sweep
on one file system. The next writer removes a line that a crash cut off. A journal may come from a
stranger, so reading it checks every value.
"""

import errno
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from mlrun.errors import MlrunError
from mlrun.sweeps.job_folders import check_folders
from mlrun.system.files import as_line
from mlrun.system.no_links import NO_LINK, opened

QUEUED, RUNNING, DONE, FAILED = "queued", "running", "done", "failed"
WAITING = "waiting"  # until the other jobs reach this rung; only the best continue
STOPPED = "stopped"  # not among the best
STATES = (QUEUED, RUNNING, DONE, FAILED, WAITING, STOPPED)


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


class Journal:
    """The journal of one sweep folder; it reads every line once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.jsonl"
        self._lock = FileLock(folder / ".journal.lock")
        self._lines = self._bytes = 0  # what was read
        self._values: dict[int, dict[str, Any]] = {}
        self._entries: dict[int, Entry] = {}

    def add(self, *events: Mapping[str, Any]) -> None:
        """Append events, all or none; each has `job`, `status` and further values."""
        lines = b"".join(as_line(event) for event in events)
        with self._lock, self._open() as (file, end):
            if os.write(file, lines) < len(lines):
                os.ftruncate(file, end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            if any(
                event["status"] != RUNNING for event in events
            ):  # otherwise the job's folder shows it
                os.fsync(file)

    @contextmanager
    def _open(self) -> Iterator[tuple[int, int]]:
        """Open the file for appending at its end; remove an incomplete last line."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o644)
        try:
            end = os.lseek(file, 0, os.SEEK_END)
            written = os.pread(file, end, 0) if end and os.pread(file, 1, end - 1) != b"\n" else b""
            if written:
                end = written.rfind(b"\n") + 1
                os.ftruncate(file, end)
            os.lseek(file, end, os.SEEK_SET)
            yield file, end
        finally:
            os.close(file)

    def read(self) -> dict[int, Entry]:
        """Return job → state, ordered by job number.

        Raises:
            MlrunError: the journal is missing or damaged.
        """
        changed: set[int] = set()
        for event in self._new_events():
            # The job may be repeated, without its error.
            self._values.setdefault(event["job"], {}).update({"error": ""} | event)
            changed.add(event["job"])
        if changed:
            known = self._entries | {job: _entry(self._values[job], self.path) for job in changed}
            self._check_folders(known)
            self._entries = {job: known[job] for job in sorted(known)}
        return dict(self._entries)

    def _new_events(self) -> Iterator[dict[str, Any]]:
        """Yield the events of the lines that were added since the last call."""
        try:
            with opened(self.path) as file:
                file.seek(self._bytes)
                for line in file:
                    if not line.endswith(b"\n"):  # cut off, or not written yet
                        return
                    yield self._event(line)
                    self._bytes += len(line)
                    self._lines += 1
        except OSError as error:
            raise MlrunError(f"{self.path} cannot be read: {error.strerror}") from None

    def _event(self, line: bytes) -> dict[str, Any]:
        try:
            event = json.loads(line.decode())
        except (ValueError, RecursionError):
            event = None
        if not isinstance(event, dict) or not _is_count(event.get("job")):
            raise MlrunError(f"{self.path} is damaged in line {self._lines + 1}")
        return event

    def _check_folders(self, entries: Mapping[int, Entry]) -> None:
        try:
            check_folders(entry.folder for entry in entries.values() if entry.folder)
        except MlrunError as error:
            raise MlrunError(f"{self.path}: {error}") from None


def _entry(values: Mapping[str, Any], path: Path) -> Entry:
    known = {name: values[name] for name in _FITS if name in values}
    if known.get("status") not in STATES:
        raise MlrunError(f"{path} is damaged: job {values['job']} has no status")
    if wrong := invalid(known):
        raise MlrunError(f"{path} is damaged: job {values['job']} has no valid {wrong}")
    return Entry(**known | {"overrides": tuple(known.get("overrides", ()))})


# --- valid values ---


def invalid(values: Mapping[str, Any]) -> str:
    """Return the name of a value that an event must not have; empty if all are valid."""
    return next((name for name, value in values.items() if not _FITS[name](value)), "")


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**53


def _is_number(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return type(value) is int and _is_count(abs(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_mapping(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(map(fits, value.values()))


def _is_config(config: Any) -> bool:
    """Whether the summary can name what the job trained; training checks everything else."""
    if not isinstance(config, dict):
        return False
    trainer, data, metric = config.get("trainer"), config.get("data"), config.get("metric") or {}
    named = type(config.get("seed")) is int and _is_text(config.get("task"))
    watched = isinstance(trainer, dict) and all(
        _is_text(trainer.get(name)) for name in ("monitor", "mode")
    )
    target = isinstance(data, dict) and _or_none(_is_text)(data.get("target"))
    scored = _is_mapping(metric, lambda node: isinstance(node, dict) and "higher_is_better" in node)
    return named and watched and target and scored


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


_FITS: dict[str, Callable[[Any], bool]] = {
    "job": _is_count,
    "status": _is_text,
    "overrides": _is_texts,
    "config": _or_none(_is_config),
    "places": _or_none(lambda value: _is_mapping(value, _is_text)),
    "folder": _is_text,
    "score": _or_none(_is_number),
    "best_epoch": _or_none(_is_count),
    "epochs": _or_none(_is_count),
    "objectives": _or_none(lambda value: _is_mapping(value, _or_none(_is_number))),
    "error": _is_text,
}
