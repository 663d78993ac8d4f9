"""Read a file as a table: numbers where a column has nothing else, otherwise its texts."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from mlrun.data import parquet_file
from mlrun.data.cells import Cells, FileSettings, FileSpelling
from mlrun.data.column_names import unique_names
from mlrun.data.findings import Finding
from mlrun.data.identifiers import names_rows
from mlrun.data.table_cache import ROWS_AT_ONCE, Layout, read_big
from mlrun.data.text_table import BLOCK, read_cells, read_cells_in_batches
from mlrun.errors import MlrunError

LOOKED_AT = 1000  # cells that tell numbers from codes
BIG = 16 * 2**20  # bytes; smaller files are parsed in a tenth of a second
TEXTS = {".csv", ".tsv", ".txt", ".data", ".tab", ".psv", ".dat", ".gz", ".bz2", ".xz", ".zst"}


@dataclass(frozen=True)
class AsText:
    """The columns to keep as text, where 007 is not 7."""

    names: tuple[str, ...] = ()
    last: bool = False

    def of(self, header: Sequence[str]) -> list[str]:
        """Return their names in a file: also those that are named like ids."""
        wanted = {*self.names, *(header[-1:] if self.last else ())}
        return [name for name in header if name in wanted or names_rows(name)]


@dataclass(frozen=True)
class TableFile:
    """The content of a file."""

    table: pd.DataFrame
    findings: tuple[Finding, ...] = ()  # what was decided about the file
    decimal: str = "."
    has_header: bool = True

    @property
    def spelling(self) -> FileSpelling:
        """What a new file has in common with this one."""
        return FileSpelling(self.decimal, self.has_header)


def read_table(
    path: Path,
    settings: FileSettings | None = None,
    *,
    texts: Collection[str] = (),
    spelled: Collection[str] = (),
    last_as_text: bool = False,
) -> TableFile:
    """Read a table; a large file from a cache, with its numbers memory-mapped.

    A column of plain numbers has float64; every other one has the texts of the file, without
    blanks around. Only an empty cell is missing. The index counts the rows from 0.

    Args:
        path: see `read_cells`.
        settings: how to read it; default: decided by its content.
        texts: columns to keep as text, besides those that are named like ids.
        spelled: columns of numbers to keep as text, too, unless the file stores numbers, which have
            no spelling.
        last_as_text: also keep the last column as text.

    Raises:
        MlrunError: like `read_cells`.
    """
    settings, as_text = settings or FileSettings(), AsText(tuple(texts), last_as_text)
    in_a_text = replace(as_text, names=(*as_text.names, *spelled))
    if path.suffix.lower() in parquet_file.SUFFIXES:
        return _read_parquet(path, settings, as_text)
    if _is_big(path) and path.suffix.lower() in TEXTS:
        found = _read_big(path, settings, in_a_text)
        if found is not None:
            return found
    cells = read_cells(path, settings)
    kept = [*as_text.of(cells.names), *(name for name in spelled if name not in cells.typed)]
    table = _typed(cells, kept)
    findings = (*cells.findings, *_leading_zeros(table, cells))
    return TableFile(table, findings, cells.decimal, cells.has_header)


def _typed(cells: Cells, texts: Collection[str]) -> pd.DataFrame:
    """Return the cells with plain numbers as float64."""
    columns = {
        name: cells.table[name] if name in texts else _numbers(cells.table[name], cells.decimal)
        for name in cells.names
    }
    return pd.DataFrame(columns, copy=False).set_axis(cells.rows - 1, axis=0)


def _leading_zeros(table: pd.DataFrame, cells: Cells) -> list[Finding]:
    """Return what to print of numbers like 01234, which may be codes, if all have one length."""
    numbers = table.select_dtypes("number").columns
    codes = {name: _code(cells.table[name].iloc[:LOOKED_AT]) for name in numbers}
    found = [(name, code) for name, code in codes.items() if code]
    if not found:
        return []
    listed = ", ".join(f"'{name}' ({text})" for name, text in found[:3])
    value = f"in {listed}{' …' if len(found) > 3 else ''} mean nothing to numbers"
    return [Finding("leading zeros", value, f"data.categorical=[{found[0][0]}]")]


def _code(column: pd.Series) -> str | None:
    """Return an example of 01234 if all texts are digits and have one length."""
    texts = pa.array(column, type=pa.string(), from_pandas=True).drop_null()
    lengths = pc.min_max(pc.utf8_length(texts))
    if lengths["min"] != lengths["max"] or not pc.all(pc.utf8_is_digit(texts)).as_py():
        return None
    return next((text for text in texts.to_pylist() if text[0] == "0" and len(text) > 1), None)


def _numbers(column: pd.Series, decimal: str) -> pd.Series:
    """Return the column as float64 if all its texts are plain numbers, otherwise unchanged."""
    texts = pa.array(column, type=pa.string(), from_pandas=True)
    if decimal == ",":
        if pc.any(pc.match_substring(texts, ".")).as_py():
            return column
        texts = pc.replace_substring(texts, ",", ".")
    try:
        numbers = pc.cast(texts, pa.float64())
    except pa.ArrowInvalid:
        return column
    if pc.all(pc.is_finite(numbers)).as_py() is False:  # texts like nan and inf
        return column
    return pd.Series(numbers.to_numpy(zero_copy_only=False), name=column.name)


# --- large files ----------------------------------------------------------------------------


def _is_big(path: Path) -> bool:
    try:
        return path.stat().st_size >= BIG
    except OSError:
        return False  # reading the file reports the error


def _read_big(path: Path, settings: FileSettings, as_text: AsText) -> TableFile | None:
    """Read the table from the cache, filling it if needed; None: there is no cache."""

    def layout() -> Layout:
        rows, last = 0, None
        for last in read_cells_in_batches(path, settings, block=BLOCK):
            rows += len(last.rows)
        assert last is not None
        facts = {
            "findings": [asdict(one) for one in last.findings],
            "decimal": last.decimal,
            "has_header": last.has_header,
        }
        return Layout(last.names, rows, as_text.of(last.names), partial(pieces), facts)

    def pieces(names: Sequence[str], texts: Sequence[str]) -> Iterator[pd.DataFrame]:
        for cells in read_cells_in_batches(path, settings, block=BLOCK):
            yield _typed(cells, texts)[list(names)]

    found = read_big(path, layout, settings=[asdict(settings), *astuple(as_text)])
    if found is None:
        return None
    table, facts = found
    findings = tuple(Finding(**values) for values in facts["findings"])
    return TableFile(table, findings, facts["decimal"], facts["has_header"])


def _read_parquet(path: Path, settings: FileSettings, as_text: AsText) -> TableFile:
    """Read the table; a large one from the cache, like a CSV file."""

    def layout() -> Layout:
        header, rows = parquet_file.names_and_rows(path)
        names = unique_names(header, settings.duplicates, path)
        if rows == 0:
            raise MlrunError(f"{path} has columns but no rows")
        pieces = partial(parquet_file.pieces, path, names, rows=ROWS_AT_ONCE)
        return Layout(names, rows, as_text.of(names), pieces, {})

    if _is_big(path):
        key = ["parquet", settings.duplicates, *astuple(as_text)]
        if found := read_big(path, layout, settings=key):
            return TableFile(found[0])
    read = layout()
    return TableFile(pd.concat(read.pieces(read.names, read.texts), ignore_index=True))
