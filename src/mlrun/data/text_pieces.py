"""Consecutive rows of a table as Arrow columns of text: blanks, empty rows and footers removed."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlrun.data.cell_kinds import NUMBER, TEXT, kind_of
from mlrun.data.cells import Progress
from mlrun.data.findings import Finding

MOST_FOOTER = 20  # rows
COUNT = re.compile(r"\(?\d+ (rows?|records?|lines?)\b.*", re.IGNORECASE)


@dataclass(frozen=True)
class Opened:
    """A file whose columns are known."""

    path: Path
    names: Sequence[str]  # as in the file; possibly empty or repeated
    # Yields the Arrow columns of consecutive rows; arguments: bytes at once, and the progress.
    columns: Callable[[int, Progress], Iterator[list[Any]]]
    findings: tuple[Finding, ...] = ()
    decimal: str = "."
    has_header: bool = True
    typed: frozenset[int] = frozenset()  # the columns that the file stores as numbers
    first_kind: str | None = None  # of the first column; None: there are no notes below the table


@dataclass(frozen=True)
class Piece:
    """Rows of text columns; `rows` has their numbers in the file."""

    columns: list[Any]  # Arrow arrays of strings; null: an empty field
    rows: NDArray[np.int64]

    def part(self, keep: NDArray[np.bool_]) -> "Piece":
        """Return only some of the rows."""
        mask = pa.array(keep)
        return Piece([column.filter(mask) for column in self.columns], self.rows[keep])


def tidy(opened: Opened, block: int, progress: Progress) -> Iterator[Piece]:
    """Yield the rows, without blanks around cells, empty rows and notes below the table."""
    pieces = _without_headers(_filled(opened.columns(block, progress), progress), opened, progress)
    if opened.first_kind is None:
        return pieces
    return _without_footer(pieces, opened.first_kind, progress)


def _filled(pieces: Iterable[list[Any]], progress: Progress) -> Iterator[Piece]:
    for columns in pieces:
        trimmed = [_trimmed(column) for column in columns]
        number = len(trimmed[0])
        rows = np.arange(progress.rows + 1, progress.rows + number + 1)
        progress.rows += number
        piece, empty = Piece(trimmed, rows), _empty_rows(trimmed)
        if empty.any():
            progress.empty_rows += int(empty.sum())
            piece = piece.part(~empty)
        if len(piece.rows):
            yield piece


def _trimmed(column: Any) -> Any:
    text = pc.ascii_trim_whitespace(column)
    return pc.if_else(pc.equal(pc.binary_length(text), 0), pa.scalar(None, pa.string()), text)


def _without_headers(
    pieces: Iterable[Piece], opened: Opened, progress: Progress
) -> Iterator[Piece]:
    """Leave out the rows that repeat the header, as files do that were joined or printed."""
    for piece in pieces:
        same = np.ones(len(piece.rows), dtype=bool)
        for column, name in zip(piece.columns, opened.names, strict=True):
            if not same.any():
                break
            cells = pa.array([name, f"\ufeff{name}"] if name else [None], pa.string())
            same &= pc.is_in(column, value_set=cells).to_numpy(zero_copy_only=False)
        repeated = int(same.sum()) if len(piece.columns) > 1 else 0
        progress.headers += repeated
        if repeated < len(same):
            yield piece.part(~same) if repeated else piece


def _empty_rows(columns: Sequence[Any]) -> NDArray[np.bool_]:
    empty = np.ones(len(columns[0]), dtype=bool)
    for column in columns:
        if column.null_count == 0:
            return np.zeros(len(column), dtype=bool)
        empty &= column.is_null().to_numpy(zero_copy_only=False)
    return empty


def _without_footer(
    pieces: Iterable[Piece], first_kind: str, progress: Progress
) -> Iterator[Piece]:
    held: Piece | None = None
    for piece in pieces:
        if held is not None and len(piece.rows) < MOST_FOOTER:
            piece = joined([held, piece])
        elif held is not None:
            yield held
        held = piece
    if held is not None:
        yield _without_note(held, first_kind, progress)


def _without_note(piece: Piece, first_kind: str, progress: Progress) -> Piece:
    end = len(piece.rows)
    first = max(0, end - MOST_FOOTER)
    notes: list[str] = []
    while end > first + 1 and (text := _only_text(piece, end - 1)) is not None:
        notes.insert(0, text)
        end -= 1
    gap = bool(notes) and piece.rows[end] - piece.rows[end - 1] > 1
    if not notes or not is_note(notes[0], first_kind, after_gap=gap):
        return piece
    progress.footer += notes
    return piece.part(np.arange(len(piece.rows)) < end)


def _only_text(piece: Piece, at: int) -> str | None:
    """Return the text of the first cell if it is the only one of its row."""
    cells = [column[at].as_py() for column in piece.columns]
    only = len(cells) > 1 and cells[0] is not None and not any(cells[1:])
    return str(cells[0]) if only else None


def is_note(text: str, first_kind: str, *, after_gap: bool) -> bool:
    """Whether a text that stands alone below the table is none of its rows."""
    if COUNT.fullmatch(text):
        return True
    is_text = all(kind_of(text, decimal) == TEXT for decimal in ".,")
    return is_text and (after_gap or first_kind == NUMBER)


def joined(pieces: Sequence[Piece]) -> Piece:
    """Return all rows as one piece."""
    columns = zip(*(piece.columns for piece in pieces), strict=True)
    rows = np.concatenate([piece.rows for piece in pieces])
    return Piece([pa.chunked_array([*column]).combine_chunks() for column in columns], rows)
