"""Read a file as people have it as a table of texts, whole or in batches of rows."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from mlrun.data.cells import NONE, Cells, FileSettings, Progress
from mlrun.data.column_names import unique_names
from mlrun.data.csv_rows import text_columns
from mlrun.data.other_formats import open_other
from mlrun.data.source_file import Source, find_source, in_memory
from mlrun.data.text_file import open_text
from mlrun.data.text_pieces import Opened, Piece, joined, tidy
from mlrun.errors import MlrunError

BLOCK = 2 * 2**20  # bytes of the file at once


def read_cells(path: Path, settings: FileSettings | None = None) -> Cells:
    """Read a table; every cell is the text in the file, without blanks around, or missing (NaN).

    Args:
        path: a CSV file or another delimited text, Excel, Feather, Parquet or JSON, possibly
            compressed (.gz, .bz2, .xz, .zst, .zip).
        settings: how to read it; default: decided by its content.

    Raises:
        MlrunError: the file is unreadable, not text, empty, ragged, has no rows, or has duplicate
            column names.
    """
    opened, names, progress = *_opened(path, settings or FileSettings()), Progress()
    pieces = [*tidy(opened, BLOCK, progress)]
    if not pieces:
        raise _no_rows(path)
    return _cells(joined(pieces), opened, names, progress)


def read_cells_in_batches(
    path: Path, settings: FileSettings | None = None, *, block: int = BLOCK
) -> Iterator[Cells]:
    """Yield the same cells in consecutive batches; the memory does not grow with the file.

    Args:
        path: see `read_cells`.
        settings: see `read_cells`.
        block: about the number of bytes of the file at once.

    Raises:
        MlrunError: like `read_cells`; an error in a row only when the row is reached.
    """
    opened, names, progress = *_opened(path, settings or FileSettings()), Progress()
    piece = None
    for piece in tidy(opened, block, progress):
        yield _cells(piece, opened, names, progress)
    if piece is None:
        raise _no_rows(path)


def _opened(path: Path, settings: FileSettings) -> tuple[Opened, list[str]]:
    source = in_memory(find_source(path))
    opened = open_other(source, settings) or _open_text(source, settings, path)
    return opened, unique_names(opened.names, settings.duplicates, path)


def _open_text(source: Source, settings: FileSettings, path: Path) -> Opened:
    file = open_text(source, settings, path)
    dialect = file.dialect
    return Opened(
        path=path,
        names=dialect.names,
        columns=lambda block, progress: text_columns(file, block, progress),
        findings=(*source.findings, *dialect.findings),
        decimal=dialect.decimal,
        has_header=dialect.has_header,
        first_kind=None if settings.footer == NONE else dialect.kinds[0],
    )


def _cells(piece: Piece, opened: Opened, names: list[str], progress: Progress) -> Cells:
    table = pa.table(dict(zip(names, piece.columns, strict=True))).to_pandas()
    findings = (*opened.findings, *progress.findings())
    typed = frozenset(name for number, name in enumerate(names) if number in opened.typed)
    return Cells(table, piece.rows, findings, opened.decimal, opened.has_header, typed)


def _no_rows(path: Path) -> MlrunError:
    return MlrunError(f"{path} has a header but no rows")
