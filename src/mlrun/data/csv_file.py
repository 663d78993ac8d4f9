"""Read a file as a table, strictly: errors name the line."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pandas as pd

from mlrun.data import parquet_file
from mlrun.data.identifiers import names_rows
from mlrun.data.table_cache import (
    CELLS,
    ROWS_AT_ONCE,
    Layout,
    NotPlain,
    csv_pieces,
    has_flags,
    read_big,
)
from mlrun.errors import MlrunError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

SEPARATORS = (",", ";", "\t", "|")
BIG = 16 * 2**20  # bytes; smaller files are parsed in a tenth of a second


def read_table(
    path: Path,
    *,
    duplicates: str = "error",
    texts: Collection[str] = (),
    last_as_text: bool = False,
    decimal: str = ".",
) -> pd.DataFrame:
    """Read a Parquet file, or a CSV file with a header line, which determines the separator.

    A column of plain numbers has numbers; every other one has texts as the file spells them. Only
    an empty cell is missing.

    Args:
        path: the file; a CSV file must be UTF-8.
        duplicates: "error", or "number" to rename a second `x` to `x.1` as pandas does.
        texts: columns to keep as text, where 007 is not 7, besides those that are named like ids.
        last_as_text: also keep the last column as text.
        decimal: the decimal separator.

    Raises:
        MlrunError: the file is missing, not UTF-8 text, empty, ragged, has no rows, or has
            duplicate column names.
    """
    as_text = AsText(tuple(texts), last_as_text)
    if path.suffix.lower() in parquet_file.SUFFIXES:
        read = partial(_read_parquet, path=path, duplicates=duplicates, as_text=as_text)
        return parquet_file.read(path, read)
    if _is_big(path) and (found := _read_big(path, duplicates, as_text, decimal)) is not None:
        return found
    text = _read_text(path)
    try:
        separator = _separator(text)
        header, _ = _measure(lambda: io.StringIO(text), separator, path)
        names = _unique(header, duplicates, path)
        how: dict[str, Any] = {
            "sep": separator,
            "names": names,
            "header": 0,
            "decimal": decimal,
            **CELLS,
        }
        texts_of = dict.fromkeys(as_text.of(names), str)
        text = text.lstrip("\n ")
        table: pd.DataFrame = pd.read_csv(io.StringIO(text), dtype=texts_of, **how)
        if flags := [name for name in names if has_flags(table[name])]:
            table[flags] = pd.read_csv(io.StringIO(text), usecols=flags, dtype=str, **how)[flags]
    except (csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise MlrunError(f"{path} cannot be read as CSV: {error}") from None
    if table.empty:
        raise MlrunError(f"{path} has a header but no rows")
    return table


@dataclass(frozen=True)
class AsText:
    """The columns to keep as text."""

    names: tuple[str, ...]
    last: bool

    def of(self, header: Sequence[str]) -> list[str]:
        """Return their names in a file."""
        wanted = {*self.names, *(header[-1:] if self.last else ())}
        return [name for name in header if name in wanted or names_rows(name)]


def _is_big(path: Path) -> bool:
    try:
        return path.stat().st_size >= BIG
    except OSError:
        return False  # reading the file reports the error


def _read_big(path: Path, duplicates: str, as_text: AsText, decimal: str) -> pd.DataFrame | None:
    """Read the table from the cache, filling it if needed; None: read the file as a small one."""

    def layout() -> Layout:
        with path.open(encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip("\n ")), "")
        if not first or '"' in first:
            raise NotPlain
        separator = _separator(first)
        header, rows = _measure(lambda: path.open(encoding="utf-8-sig"), separator, path)
        if rows == 0:
            raise NotPlain
        names = _unique(header, duplicates, path)
        pieces = partial(csv_pieces, path, names, separator=separator, decimal=decimal)
        return Layout(names, rows, as_text.of(names), pieces)

    try:
        return read_big(path, layout, settings=[duplicates, *astuple(as_text), decimal])
    except (UnicodeDecodeError, NotPlain):
        return None  # reading the whole file reports the position
    except (csv.Error, pd.errors.ParserError) as error:
        raise MlrunError(f"{path} cannot be read as CSV: {error}") from None


def _read_parquet(
    file: "ParquetFile", path: Path, duplicates: str, as_text: AsText
) -> pd.DataFrame:
    """Read the table; a large one from the cache, like a CSV file."""
    names, rows = _unique(parquet_file.names_of(file), duplicates, path), file.metadata.num_rows
    if rows == 0:
        raise MlrunError(f"{path} has columns but no rows")
    pieces = partial(parquet_file.pieces, file, names, rows=ROWS_AT_ONCE)
    texts = as_text.of(names)
    if _is_big(path):
        layout = Layout(names, rows, texts, pieces)
        found = read_big(path, lambda: layout, settings=["parquet", duplicates, *astuple(as_text)])
        if found is not None:
            return found
    return pd.concat(pieces(names, texts), ignore_index=True)


def _read_text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise MlrunError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise MlrunError(f"{path}, line {line}: not UTF-8 text; save it as CSV UTF-8") from None
    if not text.strip():
        raise MlrunError(f"{path} is empty")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _separator(text: str) -> str:
    """Return the separator that gives the most header names, ignoring those inside quotes."""
    header = next(line for line in text.split("\n") if line.strip())

    def names(separator: str) -> int:
        return len(next(csv.reader([header], delimiter=separator), []))

    return max(SEPARATORS, key=names)


def _measure(open_text: Callable[[], TextIO], separator: str, path: Path) -> tuple[list[str], int]:
    """Return the header names and the number of rows; check the number of fields per line."""
    with open_text() as file:
        marks = {mark for line in file for mark in ('"', "\0") if mark in line}
    if "\0" in marks:
        raise MlrunError(f"{path} contains zero bytes: it is not a CSV file")
    with open_text() as file:
        reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
        header = [name.strip() for name in next(filter(_holds, reader), [])]
        if not header:
            raise MlrunError(f"{path} is empty")
        if '"' in marks:
            widths = ((reader.line_num, len(fields)) for fields in reader if _holds(fields))
        else:  # counting separators is 20 times faster than parsing
            lines = enumerate(file, start=reader.line_num + 1)
            widths = ((n, line.count(separator) + 1) for n, line in lines if line.strip("\n "))
        rows = 0
        for line, width in widths:
            rows += 1
            if width != len(header):
                fields = f"{width} field{'s' if width != 1 else ''}"
                raise MlrunError(f"{path}, line {line}: {fields}, but the header has {len(header)}")
    return header, rows


def _holds(fields: list[str]) -> bool:
    """Whether a line is not blank."""
    return len(fields) > 1 or bool(fields and fields[0].strip())


def _unique(header: list[str], duplicates: str, path: Path) -> list[str]:
    names = [name or f"Unnamed: {i}" for i, name in enumerate(header)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice and duplicates == "error":
        columns = [str(i + 1) for i, name in enumerate(names) if name == twice[0]]
        raise MlrunError(
            f"{path}: columns {' and '.join(columns)} all have the name '{twice[0]}'; rename them "
            "or set data.duplicates=number"
        )
    return _numbered(names)


def _numbered(names: list[str]) -> list[str]:
    taken = set(names)
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        number, unique = seen[name], name
        while number and (unique := f"{name}.{number}") in taken:
            number += 1
        seen[name] = number + 1
        taken.add(unique)
        result.append(unique)
    return result
