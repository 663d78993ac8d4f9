"""The sweep folder: sweep.json describes the sweep, journal.jsonl records its jobs."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from filelock import FileLock

from mlrun.config.recorded import (
    for_the_record,
    from_the_record,
    not_recorded,
    path_references,
    with_paths,
)
from mlrun.config.schema import settings_of
from mlrun.config.signature import from_plain
from mlrun.config.words import hide_in_words
from mlrun.errors import FailedFast, MlrunError
from mlrun.runs.folder import RunFolder, claim, claim_exactly, locked
from mlrun.sweeps.journal import QUEUED, Entry, Journal
from mlrun.sweeps.points import Point
from mlrun.system.files import as_json, read_json, write_atomically
from mlrun.system.no_links import distrust, refuse_link_within, refuse_links
from mlrun.system.provenance import now
from mlrun.system.signals import Interrupted

FORMAT = 1
_OF_LAUNCHERS = (".submitit",)  # it contains links


@dataclass(frozen=True)
class SweepFolder:
    """The folder of a sweep."""

    path: Path
    record: dict[str, Any]  # sweep.json

    @cached_property
    def journal(self) -> Journal:
        """The journal of the sweep."""
        return Journal(self.path)

    def update(self, *, data: Mapping[str, Any] = MappingProxyType({}), **entries: Any) -> None:
        """Set entries of sweep.json and write the file; safe with several processes.

        Args:
            data: the data files of jobs, added to the known ones; see `sweeps/job_data.py`.
            entries: all other entries.
        """
        file = self.path / "sweep.json"
        with FileLock(self.path / ".sweep.lock"):
            if file.is_file():
                self.record.update(read_json(file))
            self.record.update(entries, data=self.record.get("data", {}) | data)
            write_atomically(file, as_json(self.record))


def claim_sweep(points: Sequence[Point], outputs: str, wanted: str | None) -> Path:
    """Create a new folder: with the user's name, or named after the time and the tasks.

    Raises:
        MlrunError: the user's name is not valid for a new folder.
    """
    if wanted is not None and not Path(wanted).name.strip("."):
        raise MlrunError(f"hydra.sweep.dir={wanted}: must be the name of a new folder")
    if wanted is not None and _is_just_made(Path(wanted)):
        return Path(wanted)
    if wanted is not None:
        return claim_exactly(Path(wanted).parent, Path(wanted).name)
    tasks = dict.fromkeys(point.settings.task for point in points)
    return claim(outputs, f"{'_'.join(tasks)}_sweep")


def _is_just_made(path: Path) -> bool:
    """Whether Hydra's own sweeper has just created the folder, with this one file."""
    return path.is_dir() and [entry.name for entry in path.iterdir()] == ["multirun.yaml"]


def begin_sweep(
    path: Path,
    points: Sequence[Point],
    keys: Sequence[str],
    *,
    command: Sequence[str],
    **facts: Any,
) -> SweepFolder:
    """Freeze the points: from now on, the folder alone defines the sweep.

    Args:
        path: an empty folder.
        points: the known points.
        keys: the keys in which they differ.
        command: the command line.
        facts: further entries of sweep.json.
    """
    sweep = SweepFolder(path, {})
    queue(sweep.journal, points)
    sweep.update(
        format=FORMAT,
        status="running",
        started=now(),
        command=shlex.join(hide_in_words(command)),
        swept=list(keys),
        **facts,
    )
    return sweep


def check_recorded(points: Sequence[Point], *, per_device: int | None) -> None:
    """Check that a sweep that reads its jobs from its folder finds all of their settings there.

    Args:
        points: the jobs.
        per_device: the setting of mlrun's launcher.

    Raises:
        MlrunError: naming a setting that is not recorded.
    """
    halving = points[0].settings.sweep.halving
    reads = {"hydra.launcher.per_device": per_device, "sweep.halving": halving}
    again = [key for key, value in reads.items() if value is not None]
    for point in points if again else ():
        if missing := not_recorded(point.config):
            raise MlrunError(
                f"{missing[0]} is a secret or comes from the environment and is not recorded; "
                f"leave out {again[0]}, which reads the jobs again from the sweep folder"
            )


def queue(journal: Journal, points: Sequence[Point]) -> None:
    """Add points to the journal as queued jobs."""
    journal.add(*map(_queued, points))


def _queued(point: Point) -> dict[str, Any]:
    return {
        "job": point.number,
        "status": QUEUED,
        "overrides": point.recorded,
        "folder": point.folder,
        "config": for_the_record(point.config),
        "places": path_references(point.config),
    }


def open_sweep(path: Path) -> SweepFolder:
    """Open the sweep in a folder, which may come from a stranger.

    Raises:
        MlrunError: there is none, it has links or another format, or it is damaged.
    """
    refuse_link_within(path)
    refuse_links(path, unused=_OF_LAUNCHERS)
    return joined_sweep(path)


def joined_sweep(path: Path) -> SweepFolder:
    """Open a sweep that this command has begun, also in another process.

    Raises:
        MlrunError: there is none, or it has another format or is damaged.
    """
    distrust(path)
    file = path / "sweep.json"
    record = read_json(file)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise MlrunError(f"{file}: wrong format; this version of mlrun reads format {FORMAT}")
    _check(record, file)
    return SweepFolder(path, record)


@dataclass(frozen=True)
class _Facts:
    """The entries of sweep.json that every sweep needs; a search has more: `search_record.py`."""

    swept: tuple[str, ...]
    data: Mapping[str, Any]
    folder: str
    per_device: int | None


# The values of entries that a sweep has not yet.
_NEW: dict[str, Any] = {"data": {}, "folder": "", "per_device": None}


def _check(record: Mapping[str, Any], file: Path) -> None:
    """Check the types of the entries.

    Raises:
        MlrunError: naming the wrong entry.
    """
    names = [one.name for one in fields(_Facts)]
    known = _NEW | {name: record[name] for name in names if name in record}
    facts = from_plain(_Facts, known, source=str(file))
    if facts.per_device is not None and facts.per_device < 1:
        raise MlrunError(f"{file} is damaged: per_device has an invalid value")
    try:
        as_json(record)  # updates write all of it again
    except RecursionError:
        raise MlrunError(f"{file} is damaged: its values are nested too deeply") from None


def thawed(entry: Entry, source: Path, folder: str) -> Point:
    """Rebuild the point of a journal entry.

    Args:
        entry: the entry.
        source: the path of the journal, for messages.
        folder: the data folder, if it came from the environment.

    Raises:
        MlrunError: the configuration is damaged or refused, or contained a secret.
    """
    if not isinstance(entry.config, dict) or not isinstance(entry.places, dict) or not entry.folder:
        raise MlrunError(f"{source} is damaged: job {entry.job} has no configuration")
    try:
        config = from_the_record(with_paths(entry.config, entry.places, folder), source)
        return Point(entry.job, entry.overrides, entry.folder, config, settings_of(config.values))
    except MlrunError as error:
        told = str(error).removeprefix(f"{source}: ")
        raise MlrunError(f"{source}: job {entry.job}: {told}") from error


@contextmanager
def at_work(sweep: SweepFolder) -> Iterator[None]:
    """Lock the sweep against other processes, and record how it ended.

    Raises:
        MlrunError: another process runs the sweep.
    """
    with locked(RunFolder(sweep.path)), end_recorded(sweep):
        yield


@contextmanager
def end_recorded(sweep: SweepFolder) -> Iterator[None]:
    """Record in sweep.json how the block ended."""
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, Interrupted | FailedFast | KeyboardInterrupt)
        sweep.update(status="interrupted" if stopped else "failed", ended=now())
        raise
    sweep.update(status="done", ended=now())


def is_at_work(path: Path) -> bool:
    """Whether a process is running the sweep in this folder."""
    try:
        with locked(RunFolder(path)):
            return False
    except MlrunError:
        return True
