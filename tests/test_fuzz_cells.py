"""The cells of random and damaged CSV files: those written, the same ones in pieces, or refused.

Reading cells is what every command begins with, and takes a tenth of what loading a table does.
"""

import csv
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from mlrun.data.cells import NONE, Cells, FileSettings
from mlrun.data.column_names import unique_names
from mlrun.data.text_table import read_cells, read_cells_in_batches
from tests import faults
from tests.drawn_tables import CODINGS, NAMES, WORDS, Layout
from tests.fuzzing import Share, refusal, shares
from tests.mutations import edited, edits

FILE = Path("t.csv")
BLANKS = " \t\n\r\v\f"  # a no-break space is a part of its cell

# --- files as people write them ---

cell = st.sampled_from(
    (*WORDS, "", " ", "1.5", "-2", "1,5", "日本", "x" * 40, "''", "\\", "\t")
) | (st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=6))
WAYS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}


@st.composite
def files(draw: st.DrawFn) -> tuple[Layout, list[str], list[list[str]]]:
    """A layout, a header, and rows of which each has a cell that is not empty."""
    names = ["c0", *draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))]
    width = len(names)
    row = st.lists(cell, min_size=width - 1, max_size=width - 1)
    rows = draw(st.lists(row, min_size=1, max_size=6))
    layout = Layout(
        draw(st.sampled_from(CODINGS)),
        draw(st.sampled_from((*WAYS,))),
        draw(st.sampled_from(("\n", "\r\n"))),
        draw(st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))),
    )
    return layout, names, [[f"r{number}", *cells] for number, cells in enumerate(rows)]


def is_writable(layout: Layout, names: list[str], rows: list[list[str]]) -> bool:
    try:
        "".join([*names, *(text for row in rows for text in row)]).encode(layout.encoding)
    except UnicodeEncodeError:
        return False
    return True


def exactly(layout: Layout) -> FileSettings:
    """The settings that leave nothing to be decided."""
    return FileSettings(
        encoding=layout.encoding,
        separator=WAYS[layout.separator],
        header=1,
        comment=NONE,
        skip_rows=0,
        units=NONE,
        footer=NONE,
    )


def texts(cells: Cells) -> list[list[str]]:
    """The rows, with an empty text for what is missing."""
    return [["" if pd.isna(one) else one for one in row] for row in cells.table.to_numpy()]


@faults.random_csv
@shares(fast=20, soak=8000)
def test_any_cells_are_read_as_they_were_written(share: Share, record_property: Any) -> None:
    def check(example: tuple[Layout, list[str], list[list[str]]]) -> None:
        layout, names, rows = example
        if not is_writable(layout, names, rows):
            return
        layout.write(FILE, names, rows)
        read = read_cells(FILE, exactly(layout))
        assert read.names == names
        assert texts(read) == [[text.strip(BLANKS) for text in row] for row in rows]

    record_property("examples", share.of(files(), check))


# --- damaged files ---

SOUND = (
    b"size,color,price\n1.5,red,10\n2,blue,20\n3.25,green,30\n4,red,40\n5,blue,50\n",
    b'id;"name";score\r\n001;"a ""b""";1,5\r\n002;"c\nd";2,5\r\n003;"e;f";-3,5\r\n',
    b"# a comment\nday\tvalue\n2021-01-01\t1e5\n2021-01-02\t\n\n2021-01-03\tNA\nTotal\t5\n",
    "größe|preis (€)\n[m]|[€]\n1|2,50 €\n2|3,50 €\n3|1.234,50 €\n".encode(),
    "a,b\n1,ß\n2,日\n3,é\n".encode("utf-16"),
    "a,b\n1,ß\n2,é\n3,ü\n".encode("cp1252"),
    b"x1 x2   y\n1.0  2.0 3\n4.0  5.0 6\n7.0 8.0  9\n",
    b"1,2,3\n4,5,6\n7,8,9\n10,11,12\n",
)


@faults.random_csv
@shares(fast=15, soak=12000, parts=2)
def test_any_damaged_file_is_read_alike_in_pieces_or_refused(
    share: Share, record_property: Any
) -> None:
    read = 0

    def check(example: tuple[bytes, list[Any], int]) -> None:
        nonlocal read
        sound, these, block = example
        content = edited(sound, these)
        FILE.write_bytes(content)
        found: list[Cells] = []
        if told := refusal(lambda: found.append(read_cells(FILE))):
            assert "t.csv" in told
            return
        read, [cells] = read + 1, found
        assert unique_names(cells.names, "error", FILE) == cells.names
        rows = texts(cells)
        assert sum(len(text) for row in rows for text in row) <= len(content)
        pieces = [*read_cells_in_batches(FILE, block=block)]
        assert [piece.names for piece in pieces] == [cells.names] * len(pieces)
        assert [row for piece in pieces for row in texts(piece)] == rows

    strategy = st.tuples(st.sampled_from(SOUND), edits, st.sampled_from((1, 16, 64, 10**6)))
    record_property("examples", share.of(strategy, check))
    assert 0 < read < share.tried
