"""The data files of jobs: recorded when a sweep starts, and found again by their SHA-256.

A resumed sweep may come from a stranger. Its configurations choose how files are read, but not
which: a waiting job reads the files that the sweep recorded, with unchanged content, or files in
the user's own data folder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mlrun.config.build import build
from mlrun.config.recorded import check_lookups
from mlrun.config.signature import from_plain
from mlrun.config.values import Composed
from mlrun.data.dataset import Dataset
from mlrun.data.remote_file import is_remote
from mlrun.errors import MlrunError
from mlrun.runs.data import (
    check_read,
    folders_to_search,
    own_folder,
    places_of,
    read_files,
    same_content,
)
from mlrun.sweeps.folder import SweepFolder
from mlrun.sweeps.points import Point
from mlrun.system.data_files import DataFile, data_files

_NAME_FILES = ("_target_", "dir", "train", "test", "sample", "download")  # settings
# Overrides that may change the data.
_OF_DATA = ("data", "task=", "paths.", "experiment=", "hparams=")


def data_name(overrides: Sequence[str]) -> str:
    """Return the overrides that may change the data; jobs with equal ones read the same files."""
    return " ".join(word for word in overrides if word.lstrip("+~").startswith(_OF_DATA))


def record_data(
    sweep: SweepFolder,
    overrides: Sequence[str],
    files: Sequence[Mapping[str, Any]],
    *,
    sample: bool,
) -> None:
    """Record the data files of a job; jobs on the same data use the same ones, also after days.

    Args:
        sweep: the sweep.
        overrides: the overrides of the job, without secrets.
        files: see `data_files`.
        sample: whether they are sample data.

    Raises:
        MlrunError: a file has changed.
    """
    known, name = sweep.record.get("data", {}), data_name(overrides)
    if name in known and _hashes(known[name]["files"]) != _hashes(files):
        raise MlrunError("the data has changed since the start of the sweep; use --data FOLDER")
    if name not in known:
        sweep.update(data={name: {"sample": sample, "files": list(files)}})
    if sample and not sweep.record.get("sample"):
        sweep.update(sample=True)


def _hashes(files: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {file["role"]: file["sha256"] for file in files}


def data_of(points: Sequence[Point]) -> dict[str, Any]:
    """Return the entries of sweep.json for the files of these jobs, as far as there are any."""
    first: dict[str, Point] = {}
    for point in points:
        first.setdefault(data_name(point.recorded), point)
    found: dict[str, dict[str, Any] | None] = {}  # by the settings that name files
    entries = {}
    for name, point in first.items():
        node = point.config.values["data"]
        key = json.dumps([node.get(setting) for setting in _NAME_FILES])
        if key not in found:
            found[key] = _entry(point.config)
        if (entry := found[key]) is not None:
            entries[name] = entry
    return entries


def _entry(config: Composed) -> dict[str, Any] | None:
    try:
        check_lookups(config)
        reader = build("data", config.values)
        if not hasattr(reader, "find_files"):  # the user's own classes need not have it
            return None
        files, sample = reader.find_files()
        return {"sample": sample, "files": [*map(asdict, data_files(files))]}
    except Exception:  # the job reports it
        return None


@dataclass(frozen=True)
class _Recorded:
    """An entry of sweep.json for data files."""

    sample: bool
    files: tuple[DataFile, ...]

    @classmethod
    def of(cls, entry: Any, source: Path) -> "_Recorded":
        """Read an entry.

        Raises:
            MlrunError: it is damaged.
        """
        listed = entry.get("files") if isinstance(entry, Mapping) else None
        if not isinstance(listed, list) or not isinstance(entry.get("sample"), bool):
            raise MlrunError(f"{source} is damaged: no list of data files")
        return cls(
            entry["sample"], tuple(from_plain(DataFile, one, source=str(source)) for one in listed)
        )


@dataclass(frozen=True)
class JobData:
    """Reads the data of the jobs of a resumed sweep.

    Args:
        source: sweep.json, for messages.
        known: its entries for data files.
        folder: --data.
    """

    source: Path
    known: Mapping[str, _Recorded]
    folder: str | None

    @classmethod
    def of(cls, sweep: SweepFolder, folder: str | None) -> "JobData":
        """Return the reader for a sweep; `folder` is --data.

        Raises:
            MlrunError: sweep.json is damaged.
        """
        source, entries = sweep.path / "sweep.json", sweep.record.get("data", {})
        known = {name: _Recorded.of(entry, source) for name, entry in entries.items()}
        return cls(source, known, folder)

    def check(self, points: Sequence[Point]) -> None:
        """Check that no job needs files that are neither recorded nor in the user's data folder.

        Raises:
            MlrunError: naming the job and the file.
        """
        for point in points:
            if data_name(point.recorded) not in self.known:
                try:
                    self._check_own(point.config.values["data"])
                except MlrunError as error:
                    raise MlrunError(f"job {point.number}: {error}") from error

    def load(self, overrides: Sequence[str], values: Mapping[str, Any]) -> Dataset:
        """Read the data of a job.

        Args:
            overrides: the overrides of the job, without secrets.
            values: the values of its configuration.

        Raises:
            MlrunError: the files are missing, have changed, or may not be read.
        """
        entry = self.known.get(data_name(overrides))
        if entry is None:
            self._check_own(values["data"])
            node = values["data"]
            node = node | {"download": False} if "download" in node else node
            dataset: Dataset = build("data", {**values, "data": node}).load()
            return dataset
        name = values["data"].get("sample") if entry.sample else None
        folders = folders_to_search(self.folder, entry.files, name)
        found = {file.role: self._file(file, [*folders, Path()]) for file in entry.files}
        dataset = read_files(values, found, sample=entry.sample, source=self.source)
        check_read(dataset, entry.files, found)
        return dataset

    def _file(self, file: DataFile, folders: Sequence[Path]) -> Path:
        there = places_of(file, folders)
        if (found := same_content(file, there)) is not None:
            return found
        if not there:
            raise MlrunError(f"the data file {file.path} is missing; use --data FOLDER")
        raise MlrunError(
            f"the data has changed since the start of the sweep ({there[0]}); use --data FOLDER"
        )

    def _check_own(self, node: Any) -> None:
        """Check that the settings name files in the user's data folder only."""
        own = own_folder(self.folder)
        for folder, name in _named(node):
            if is_remote(name) or not _is_below(own, folder, name):
                place = name if is_remote(name) else str(Path(folder, name))
                raise MlrunError(
                    f"{place} is not in {own}: a resumed sweep reads the files that it recorded, "
                    "and files in your data folder; use --data FOLDER"
                )


def _named(node: Any) -> list[tuple[str, str]]:
    """Return folder and name of the files that the settings name; without files, the folder."""
    if not isinstance(node, Mapping):
        return []
    folder = str(node.get("dir", "."))
    values = [node.get(key) for key in ("train", "test")]
    names = [one for value in values for one in (value if isinstance(value, list) else [value])]
    files = [(folder, str(name)) for name in names if name is not None]
    return files or ([(folder, ".")] if "dir" in node else [])


def _is_below(own: Path, folder: str, name: str) -> bool:
    """Whether a file is in the user's own folder, in which links are the user's as well."""
    try:
        path = Path(folder, Path(name).expanduser()).absolute()
        tops = [top for top in (own.absolute(), own.resolve()) if path.is_relative_to(top)]
        return any(".." not in path.relative_to(top).parts for top in tops)
    except (OSError, RuntimeError, ValueError):  # an invalid name, or no such user
        return False
