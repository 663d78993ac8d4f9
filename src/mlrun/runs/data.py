"""Find the data files of a run again by their hashes."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlrun.config.build import build
from mlrun.config.signature import from_plain
from mlrun.data.dataset import Dataset
from mlrun.data.locate import DEFAULT_DATA
from mlrun.data.preprocess.module import Contract
from mlrun.data.sample import write_sample
from mlrun.errors import MlrunError
from mlrun.runs.folder import RunFolder
from mlrun.system.data_files import DataFile, changed, sha256
from mlrun.system.files import read_json

LoadData = Callable[[Mapping[str, Any]], Dataset]  # by the values of a configuration


def load_run_data(
    run: RunFolder,
    values: Mapping[str, Any],
    contract: Contract | None,
    *,
    data: str | None = None,
    exactly: bool = True,
    split_anew: bool = False,
    read: dict[str, Dataset] | None = None,
) -> Dataset:
    """Load the rows of a run with its preprocessing.

    Args:
        run: the run.
        values: the values of its configuration.
        contract: its preprocessing; None: fit it again.
        data: a folder to search; default: MLRUN_DATA or ./data.
        exactly: whether the files must be unchanged.
        split_anew: split by the configuration, instead of using split.json.
        read: datasets already loaded, reused for the same split and preprocessing; extended.

    Raises:
        MlrunError: a file is missing or has changed.
    """
    split = None if split_anew else read_json(run.split)
    key = json.dumps([split, contract])
    if read is None or key not in read or contract is None:
        dataset = _load(run, values, contract, split, data=data, exactly=exactly)
        if read is None:
            return dataset
        read[key] = dataset
    return read[key]


def _load(
    run: RunFolder,
    values: Mapping[str, Any],
    contract: Contract | None,
    split: Any,
    *,
    data: str | None,
    exactly: bool,
) -> Dataset:
    source = run.path / "run.json"
    recorded = [from_plain(DataFile, e, source=str(source)) for e in run.entry("data", list)]
    sample = run.entry("sample", bool)
    folders = folders_to_search(data, recorded, values["data"].get("sample") if sample else None)
    files = {file.role: _file_of_run(file, folders, exactly=exactly) for file in recorded}
    settings: dict[str, Any] = {"split": split, "contract": contract, "sample": sample}
    dataset = read_files(values, files, source=source, **settings)
    check_read(dataset, recorded if exactly else (), files)
    return dataset


def read_files(
    values: Mapping[str, Any],
    files: Mapping[str, Path],
    *,
    sample: bool,
    source: Path,
    split: Any = None,
    contract: Contract | None = None,
) -> Dataset:
    """Load the rows of these files by the settings of a configuration.

    Args:
        values: the values of the configuration.
        files: role → file.
        sample: whether this is sample data.
        source: the file that names them, for messages.
        split: see split.json; None: split by the configuration.
        contract: the preprocessing; None: fit it.

    Raises:
        MlrunError: a role is missing, or a file cannot be read.
    """
    reader = build("data", values)
    if absent := [role for role in reader.needs if role not in files]:
        raise MlrunError(f"{source} is damaged: no data file for {absent[0]}")
    dataset: Dataset = reader.load(files=files, split=split, contract=contract, sample=sample)
    return dataset


def check_read(dataset: Dataset, recorded: Sequence[DataFile], files: Mapping[str, Path]) -> None:
    """Check that the files were still the recorded ones when they were read.

    Args:
        dataset: their rows.
        recorded: the content they must have.
        files: role → file.

    Raises:
        MlrunError: naming a file that has changed.
    """
    read = {file.role: file.sha256 for file in dataset.data}
    for file in recorded:
        if read.get(file.role) != file.sha256:
            raise changed(files[file.role])


def own_folder(data: str | None) -> Path:
    """Return the user's data folder: `data` (--data), or else MLRUN_DATA or ./data.

    Raises:
        MlrunError: there is no folder `data`.
    """
    if data is not None and not Path(data).is_dir():
        raise MlrunError(f"--data {data}: no such folder")
    return Path(data or os.environ.get("MLRUN_DATA") or DEFAULT_DATA)


def folders_to_search(
    data: str | None, recorded: Sequence[DataFile], sample: Any = None
) -> list[Path]:
    """Return the folders for recorded files; writes the sample data `sample` if they are missing.

    Raises:
        MlrunError: like `own_folder`, or there is no such sample data.
    """
    folders = [own_folder(data)]
    if sample is not None and not all(_is_file(Path(file.path)) for file in recorded):
        folders.append(write_sample(str(sample)))
    return folders


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # an invalid file name
        return False


def places_of(file: DataFile, folders: Sequence[Path]) -> list[Path]:
    """Return the files at the recorded path and, by name, in the folders."""
    recorded = Path(file.path)
    names = [recorded.name, f"{recorded.parent.name}/{recorded.name}"]
    candidates = [recorded, *(folder / name for folder in folders for name in names)]
    return [path for path in candidates if ".." not in path.parts and _is_file(path)]


def same_content(file: DataFile, places: Sequence[Path]) -> Path | None:
    """Return the first file with the recorded content."""
    for path in places:
        # Reading a file of size 0 may wait forever: those of the system have this size.
        if 0 < path.stat().st_size == file.bytes and sha256(path) == file.sha256:
            return path
    return None


def _file_of_run(file: DataFile, folders: Sequence[Path], *, exactly: bool) -> Path:
    """Find a file with the recorded content at its recorded path or in one of the folders."""
    there = places_of(file, folders)
    if (found := same_content(file, there)) is not None:
        return found
    if not there:
        raise MlrunError(f"the run's data file {file.path} is missing; use --data FOLDER")
    if exactly:
        raise MlrunError(f"the run's data file {there[0]} has changed since the run")
    # A record may come from a stranger: read a changed file only from the user's own data folders.
    for path in there:
        if any(path.resolve().is_relative_to(own.resolve()) for own in (Path(), *folders)):
            return path
    raise MlrunError(
        f"{there[0]} has changed since the run; use --data FOLDER for the file to read"
    )
