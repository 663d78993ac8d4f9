"""Find a task's files, or say which are missing; fall back to the sample where that is allowed."""

import logging
from collections.abc import Sequence
from pathlib import Path

from mlrun.errors import MlrunError, did_you_mean

log = logging.getLogger(__name__)

DEFAULT_DATA = Path("data")  # paths.data when nobody says otherwise
DATA_SUFFIXES = {".csv", ".gz", ".parquet", ".pq", ".tsv", ".txt", ".zip"}


def wants_sample(folder: Path, sample: str | None) -> bool:
    """Whether the default data folder holds no files, so that the stand-in `sample` is used.

    A folder the user named is never replaced by a stand-in.
    """
    if sample is None or folder != DEFAULT_DATA / sample:
        return False
    return not folder.is_dir() or not any(_holds_data(file) for file in folder.iterdir())


def _holds_data(file: Path) -> bool:
    return file.suffix.lower() in DATA_SUFFIXES or "ubyte" in file.name


def find(folder: Path, names: str | Sequence[str | None] | None, *, key: str) -> Path | None:
    """The first of `names` that exists in `folder`; None where none is needed.

    Args:
        folder: where relative names are looked for.
        names: a name, or several of which one must be there unless the last is null.
        key: the setting they come from, for the message.

    Raises:
        MlrunError: a file that is needed is not there.
    """
    wanted = [names] if isinstance(names, str) else [None] if names is None else list(names)
    candidates = [folder / name for name in wanted if name is not None]
    for path in candidates:
        if path.is_file():
            return path
    if None in wanted and key != "data.train":
        return None
    if not candidates:
        raise MlrunError(f"{key} names no file")
    raise MlrunError(_not_found(candidates, key))


def _not_found(candidates: Sequence[Path], key: str) -> str:
    first = candidates[0]
    folder = first.parent
    if first.is_dir():
        return f"{first} is a folder, not a file; see {key}"
    if not folder.is_dir():
        return f"no folder {folder} with {first.name}; see {key}, data.dir and MLRUN_DATA"
    there = sorted(p.name for p in folder.iterdir() if p.is_file())
    found = f"found there: {', '.join(there[:6])}" if there else "there are no files there"
    listed = " or ".join(path.name for path in candidates)
    hint = did_you_mean(first.name, there)
    return f"no file {listed} in {folder.resolve()} ({found}); see {key}.{hint}"
