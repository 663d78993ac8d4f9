"""Find the files of a task, or report missing ones; decide whether to use sample data."""

import logging
from collections.abc import Sequence
from pathlib import Path

from mlrun.data.remote_file import is_remote, local_copy
from mlrun.data.source_file import expanded
from mlrun.errors import MlrunError, did_you_mean

log = logging.getLogger(__name__)

DEFAULT_DATA = Path("data")  # the default of paths.data
DATA_SUFFIXES = {".csv", ".gz", ".parquet", ".pq", ".tsv", ".txt", ".zip"}


def wants_sample(folder: Path, sample: str | None) -> bool:
    """Whether to use the sample data `sample`, because the default data folder has no files.

    Sample data never replaces a folder that the user named.
    """
    if sample is None or folder != DEFAULT_DATA / sample:
        return False
    return not folder.is_dir() or not any(_holds_data(file) for file in folder.iterdir())


def _holds_data(file: Path) -> bool:
    return file.suffix.lower() in DATA_SUFFIXES or "ubyte" in file.name


def find(folder: Path, names: str | Sequence[str | None] | None, *, key: str) -> Path | None:
    """Return the first of `names` that exists in `folder`; None if the file is optional.

    Args:
        folder: the folder for relative names.
        names: one name, or alternatives; with null among them the file is optional.
        key: the setting with the names, for messages.

    Raises:
        MlrunError: a required file is missing.
    """
    wanted = [names] if isinstance(names, str) else [None] if names is None else list(names)
    for name in wanted:
        if name is not None and is_remote(name):
            return local_copy(name)
    candidates = [folder / expanded(name) for name in wanted if name is not None]
    for path in candidates:
        if path.is_file():
            return path
    if None in wanted and key != "data.train":
        return None
    if not candidates:
        raise MlrunError(f"{key}: no file name given")
    raise MlrunError(_not_found(candidates, key))


def _not_found(candidates: Sequence[Path], key: str) -> str:
    first = candidates[0]
    folder = first.parent
    if first.is_dir():
        return f"{first} is a folder, not a file; see {key}"
    if not folder.is_dir():
        return f"no folder {folder} with {first.name}; see {key}, data.dir and MLRUN_DATA"
    there = sorted(p.name for p in folder.iterdir() if p.is_file())
    found = f"found: {', '.join(there[:6])}" if there else "the folder has no files"
    listed = " or ".join(path.name for path in candidates)
    hint = did_you_mean(first.name, there)
    return f"no file {listed} in {folder.resolve()} ({found}); see {key}.{hint}"
