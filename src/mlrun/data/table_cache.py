"""Cache for large tables: read in chunks, parsed once, stored as memory-mapped columns.

The key of an entry is the file's SHA-256 plus all settings that change how the file is read. An
entry is written under another name, synced and renamed, so it is either complete or absent; a file
that changes while it is read gets none. Numbers are stored as float64, texts as indices into a list
of texts.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.rows import let_go, reserve
from mlrun.system.cache import cache_folder, forget_old
from mlrun.system.data_files import changed, sha256, sha256_now, unchanged
from mlrun.system.locks import sync, temporary_folder

log = logging.getLogger(__name__)

FORMAT = 5  # of the cache; entries of another format are ignored
ROWS_AT_ONCE = 50_000
MOST_TABLES = 8  # in the cache; the least recently used ones are deleted
LARGEST_WHOLE = 2.0**53  # beyond it float64 cannot represent every integer


@dataclass(frozen=True)
class Layout:
    """The columns and row count of a file, and the function that reads its values."""

    names: Sequence[str]
    rows: int
    texts: Sequence[str]  # columns to keep as text
    # Yields the rows in order; arguments: the columns, and which of them are text.
    pieces: Callable[[Sequence[str], Sequence[str]], Iterator[pd.DataFrame]]
    facts: Mapping[str, Any]  # plain values about the file, stored with the table


@dataclass
class CachedColumn:
    """The contents of a column so far."""

    kinds: set[str]  # of its chunks: number, flag, text
    codes: dict[str, int]  # text → index


def read_big(
    path: Path, layout: Callable[[], Layout], *, settings: Sequence[Any]
) -> tuple[pd.DataFrame, Mapping[str, Any]] | None:
    """Return the table with memory-mapped numbers, and its facts; None if there is no cache.

    Args:
        path: the file.
        layout: inspects the file and checks that all rows have the same number of values.
        settings: everything that changes how the file is read.

    Raises:
        MlrunError: raised by `layout`.
    """
    tables = cache_folder("tables")
    if tables is None:
        return None
    digest = sha256(path)
    folder = tables / _key(digest, settings)
    try:
        for _ in range(2):  # again without an entry that was damaged
            if not folder.is_dir():
                _fill_entry(path, digest, layout, folder)
            if (found := _opened(folder)) is not None:
                return found
    except OSError as error:  # e.g. a full disk
        log.info("cannot cache %s: %s", path, error.strerror)
    return None


def _fill_entry(path: Path, digest: str, layout: Callable[[], Layout], folder: Path) -> None:
    log.info("reading %s for the first time", path)
    with temporary_folder(folder.parent) as unfinished, unchanged(path):
        _write(layout(), unfinished)
        if sha256_now(path) != digest:
            raise changed(path)
        _publish(unfinished, folder)
    forget_old(folder.parent, MOST_TABLES)


def _opened(folder: Path) -> tuple[pd.DataFrame, Mapping[str, Any]] | None:
    """Return the table of an entry; delete the entry if its files are damaged."""
    try:
        os.utime(folder)
        return _open(folder)
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError) as error:
        log.info("the cache entry %s is damaged: %s", folder, error)
        shutil.rmtree(folder)
        return None


def _key(digest: str, settings: Sequence[Any]) -> str:
    whole = [FORMAT, pd.__version__, digest, *settings]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()[:32]


# --- from the file to the cache -------------------------------------------------------------


def _write(layout: Layout, folder: Path) -> None:
    columns = _fill(layout, folder)
    kinds = {name: {"kind": _kind(c), "texts": [*c.codes]} for name, c in columns.items()}
    described = {"rows": layout.rows, "columns": kinds, "facts": dict(layout.facts)}
    (folder / "columns.json").write_text(json.dumps(described), encoding="utf-8")
    for file in folder.iterdir():
        with file.open("rb") as opened:
            sync(opened.fileno())


def _publish(unfinished: Path, folder: Path) -> None:
    try:
        unfinished.rename(folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was faster
            raise


def _fill(layout: Layout, folder: Path) -> dict[str, CachedColumn]:
    columns = {name: CachedColumn(set(), {}) for name in layout.names}
    shape = (len(layout.names), layout.rows)
    with (folder / "values.bin").open("xb") as file:
        reserve(file, 8 * shape[0] * shape[1])
    values = np.memmap(folder / "values.bin", dtype=np.float64, mode="r+", shape=shape)
    for start, piece in _numbered(layout.pieces(layout.names, layout.texts)):
        for row, name in enumerate(layout.names):
            values[row, start : start + len(piece)] = _as_floats(piece[name], columns[name])
        let_go(values)
    # A column with numbers in one chunk and texts in another is text: read it again as text.
    mixed = [name for name, column in columns.items() if len(column.kinds) > 1]
    for name in mixed:
        columns[name] = CachedColumn(set(), {})
    for start, piece in _numbered(layout.pieces(mixed, mixed)) if mixed else ():
        for name in mixed:
            row = [*layout.names].index(name)
            values[row, start : start + len(piece)] = _as_floats(piece[name], columns[name])
    values.flush()
    return columns


def _numbered(pieces: Iterable[pd.DataFrame]) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield each chunk with the number of its first row."""
    start = 0
    for piece in pieces:
        yield start, piece
        start += len(piece)


def _as_floats(piece: pd.Series, column: CachedColumn) -> NDArray[np.float64]:
    """Convert to numbers: texts to their index in the column's list."""
    if piece.isna().all():  # such a chunk does not determine the kind
        return np.full(len(piece), np.nan)
    if pd.api.types.is_bool_dtype(piece.dtype):
        column.kinds.update({"flag", "text"})  # read again as text
        return np.zeros(len(piece))
    if pd.api.types.is_numeric_dtype(piece.dtype):
        numbers = piece.to_numpy(dtype=np.float64, na_value=np.nan)
        whole = pd.api.types.is_integer_dtype(piece.dtype)
        exact = not whole or bool((np.abs(numbers) <= LARGEST_WHOLE).all())
        column.kinds.update({"number"} if exact else {"number", "too large"})
        return numbers
    column.kinds.add("text")
    codes, levels = pd.factorize(piece)
    numbers = np.array([column.codes.setdefault(str(t), len(column.codes)) for t in levels])
    return np.where(codes < 0, np.nan, np.append(numbers, 0)[codes].astype(np.float64))


def _kind(column: CachedColumn) -> str:
    return next(iter(column.kinds), "number")


# --- from the cache to a table --------------------------------------------------------------


def _open(folder: Path) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    described: Mapping[str, Any] = json.loads((folder / "columns.json").read_text("utf-8"))
    kinds = described["columns"]
    shape = (len(kinds), described["rows"])
    values = np.memmap(folder / "values.bin", dtype=np.float64, mode="r", shape=shape)
    columns = {name: _column(values[row], kinds[name]) for row, name in enumerate(kinds)}
    return pd.DataFrame(columns, copy=False), described["facts"]


def _column(values: NDArray[np.float64], described: Mapping[str, Any]) -> NDArray[Any]:
    if described["kind"] == "number":
        return values
    texts = np.array([*described["texts"], np.nan], dtype=object)
    return texts[np.nan_to_num(values, nan=len(texts) - 1).astype(np.int64)]
