"""Excel, Feather, Parquet and JSON give the cells that a CSV file of the same table gives."""

import datetime
import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from mlrun.data import arrow_formats, json_file
from mlrun.data.cells import Cells, FileSettings
from mlrun.data.text_table import read_cells, read_cells_in_batches
from mlrun.errors import MlrunError
from tests.test_source_file import zipped

DAY, TIME = datetime.date(2026, 11, 21), datetime.datetime(2026, 11, 21, 23, 59, 58)
COLUMNS: dict[str, list[Any]] = {
    "id": [7, 90071992547409921, None],
    "size": [1.5, 0.1, 3.0],
    "new": [True, False, None],
    "kind": ["007", " b ", ""],
    "day": [DAY, DAY, None],
    "time": [TIME, None, datetime.datetime(2026, 11, 21)],
    "price": [Decimal("1.50"), Decimal("2.25"), None],
}
CELLS = [
    ["7", "1.5", "True", "007", "2026-11-21", "2026-11-21 23:59:58", "1.50"],
    ["90071992547409921", "0.1", "False", "b", "2026-11-21", None, "2.25"],
    [None, "3", None, None, None, "2026-11-21 00:00:00", None],
]


def rows(cells: Cells) -> list[list[Any]]:
    return [[None if pd.isna(c) else c for c in row] for row in cells.table.to_numpy().tolist()]


def found(cells: Cells) -> dict[str, str]:
    return {finding.what: finding.value for finding in cells.findings}


def read(name: str, **settings: Any) -> Cells:
    """Read a file; the batches have the same cells."""
    whole = read_cells(Path(name), FileSettings(**settings))
    pieces = [*read_cells_in_batches(Path(name), FileSettings(**settings))]
    batches = pd.concat([piece.table for piece in pieces], ignore_index=True)
    pd.testing.assert_frame_equal(whole.table, batches)
    return whole


def error_of(name: str, **settings: Any) -> str:
    with pytest.raises(MlrunError) as caught:
        read(name, **settings)
    return str(caught.value)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (arrow_formats, json_file):
        monkeypatch.setattr(module, "ROWS_AT_ONCE", 2)


# --- Parquet and Feather --------------------------------------------------------------------

WRITE = {
    "t.parquet": parquet.write_table,
    "t.feather": feather.write_feather,
    "t.arrow": lambda table, name: feather.write_feather(table, name, compression="uncompressed"),
}


@pytest.mark.parametrize("name", WRITE)
def test_columns_of_every_type_are_texts(name):
    write: Any = WRITE[name]
    write(pa.table(COLUMNS), name)
    cells = read(name)
    assert (cells.names, rows(cells)) == ([*COLUMNS], CELLS)


@pytest.mark.parametrize("name", WRITE)
def test_the_name_of_a_file_does_not_matter(name):
    write: Any = WRITE[name]
    write(pa.table(COLUMNS), name)
    Path(name).rename("t.data")
    assert rows(read("t.data")) == CELLS


def test_a_parquet_file_in_an_archive_is_read():
    parquet.write_table(pa.table(COLUMNS), "t.parquet")
    Path("t.zip").write_bytes(zipped({"t.parquet": Path("t.parquet").read_bytes()}))
    assert rows(read("t.zip")) == CELLS


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["a", None, "a"]).dictionary_encode(),
        pa.array([0.1, None, 1e20], pa.float32()),
        pa.array([255, None, 0], pa.uint8()),
        pa.array([3.0, float("nan"), float("inf")]),
        pa.array(["a", None, "b"], pa.large_string()),
        pa.array([None, None, None]),
        pa.array([datetime.time(1, 2, 3), None, datetime.time(0)]),
    ],
    ids=lambda array: str(array.type),
)
def test_odd_types_are_texts_too(values):
    wanted = {
        "float": ["0.1", None, "1e+20"],
        "uint8": ["255", None, "0"],
        "double": ["3", None, "inf"],
        "null": [None, None, None],
        "time64[us]": ["01:02:03", None, "00:00:00"],
    }.get(str(values.type), ["a", None, values[2].as_py()])
    parquet.write_table(pa.table({"k": ["1", "2", "3"], "x": values}), "t.parquet")
    assert [row[1] for row in rows(read("t.parquet"))] == wanted


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([[1, 2]], "t.parquet, column 'x' contains list<"),
        ([b"1"], "t.parquet, column 'x' contains binary values, not numbers or texts"),
        (pa.array([], pa.int64()), "t.parquet has a header but no rows"),
    ],
)
def test_what_is_no_table_of_values_is_refused(column, message):
    parquet.write_table(pa.table({"x": column}), "t.parquet")
    assert error_of("t.parquet").startswith(message)


@pytest.mark.parametrize(
    ("name", "kind"), [("t.parquet", "Parquet"), ("t.pq", "Parquet"), ("t.feather", "Feather")]
)
def test_what_only_has_the_name_of_such_a_file_is_refused(name, kind):
    Path(name).write_text("x\n1\n")
    assert error_of(name).startswith(f"{name} cannot be read as {kind}: ")


def test_two_columns_of_a_name_are_refused_or_numbered():
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    parquet.write_table(twice, "t.parquet")
    assert "columns 1 and 2 all have the name 'x'" in error_of("t.parquet")
    assert read("t.parquet", duplicates="number").names == ["x", "x.1"]


def test_an_index_is_a_column_like_others():
    pd.DataFrame({"x": [1.5]}, index=pd.Index(["a"], name="key")).to_parquet("t.parquet")
    assert rows(read("t.parquet")) == [["1.5", "a"]]


# --- JSON -----------------------------------------------------------------------------------

RECORDS = [
    {"id": 7, "x": 1.10, "new": True, "kind": "007", "day": None},
    {"id": 90071992547409921, "x": 1e5, "new": False, "kind": " b "},
    {"id": 8, "kind": "", "later": "z"},
]
TEXTS = [
    ["7", "1.1", "True", "007", None, None],
    ["90071992547409921", "100000.0", "False", "b", None, None],
    ["8", None, None, None, None, "z"],
]


@pytest.mark.parametrize("name", ["t.jsonl", "t.ndjson", "t.json"])
def test_objects_are_rows(name):
    each = "\n\n".join(json.dumps(record) for record in RECORDS)
    Path(name).write_text(json.dumps(RECORDS) if name == "t.json" else each)
    cells = read(name)
    assert cells.names == ["id", "x", "new", "kind", "day", "later"]
    assert rows(cells) == TEXTS


def test_numbers_keep_their_spelling():
    Path("t.jsonl").write_text('{"x": 1.10, "y": 1}\n{"x": 1e5, "y": NaN}\n')
    assert rows(read("t.jsonl")) == [["1.10", "1"], ["1e5", "NaN"]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.jsonl", '{"x": 1}\n{"x": }\n', "t.jsonl, line 2 is not valid JSON: "),
        ("t.jsonl", '{"x": 1}\n[1]\n', "t.jsonl, line 2 is not an object "),
        ("t.jsonl", '{"x": 1}\n{"x": [1]}\n', "t.jsonl, line 2, column 'x' contains a list, "),
        ("t.json", '[{"x": {"y": 1}}]', "t.json, row 1, column 'x' contains an object, "),
        ("t.json", '{"x": [1, 2]}', "t.json must be an array of objects "),
        ("t.json", "[1", "t.json is not valid JSON: "),
        ("t.json", "[" * 100_000, "t.json is not valid JSON: "),
        ("t.json", "[]", "t.json has no rows"),
    ],
)
def test_json_that_is_no_table_is_refused_with_its_place(name, text, message):
    Path(name).write_text(text)
    assert error_of(name).startswith(message)


@pytest.mark.parametrize("name", ["t.json", "t.jsonl"])
def test_json_is_utf_8(name):
    Path(name).write_bytes(b'[{"x": "\xff"}]')
    assert error_of(name) == f"{name} is not UTF-8 text"


# --- Excel ----------------------------------------------------------------------------------


def book(sheets: dict[str, list[list[Any]]], name: str = "t.xlsx") -> str:
    made = openpyxl.Workbook()
    made.remove(made.active)
    for title, lines in sheets.items():
        sheet = made.create_sheet(title)
        for line in lines:
            sheet.append(line)
    made.save(name)
    return name


TABLE: list[list[Any]] = [["x", "y", "kind"], [1, 0.5, "007"], [2, 1.25, "b"], [3, None, "c"]]


def test_a_sheet_is_a_table():
    cells = read(book({"a": TABLE}))
    assert cells.names == ["x", "y", "kind"]
    assert rows(cells) == [["1", "0.5", "007"], ["2", "1.25", "b"], ["3", None, "c"]]
    assert cells.findings == ()


def test_cells_of_every_type_are_texts():
    lines: list[list[Any]] = [
        ["n", "f", "t", "d", "m"],
        [7.0, True, TIME, DAY, TIME],
        [0.1, False, TIME, DAY, datetime.datetime(2026, 11, 21)],
    ]
    assert rows(read(book({"a": lines}))) == [
        ["7", "True", str(TIME), "2026-11-21", str(TIME)],
        ["0.1", "False", str(TIME), "2026-11-21", "2026-11-21 00:00:00"],
    ]


def test_of_several_sheets_the_first_is_read_and_said():
    name = book({"north": TABLE, "south": [["z", "w"], [5, 6]]})
    assert found(read(name)) == {"sheet": "'north', the first of 2 sheets (others: south)"}
    assert rows(read(name, sheet="south")) == rows(read(name, sheet=2)) == [["5", "6"]]
    message = error_of(name, sheet="souht")
    assert message == "data.sheet=souht: t.xlsx has north, south. Did you mean 'south'?"


def test_titles_units_empty_columns_and_notes_of_a_sheet_are_no_data():
    lines: list[list[Any]] = [
        [None, "Yields of 2024"],
        [],
        [None, "x", "y", "kind"],
        [None, "m", "kg", None],
        *([None, i, i / 2, "a"] for i in range(5)),
        [],
        [None, "Source: the ministry"],
    ]
    cells = read(book({"a": lines}))
    assert cells.names == ["x", "y", "kind"]
    assert rows(cells) == [[str(i), str(i / 2).removesuffix(".0"), "a"] for i in range(5)]
    assert {*found(cells)} == {"empty columns", "preamble", "units", "footer", "empty rows"}


def test_a_sheet_without_a_header_is_noticed():
    lines: list[list[Any]] = [[5.1, 3.5, "a"], [4.9, 3.0, "b"], [4.7, 3.2, "a"]]
    assert read(book({"a": lines})).names == ["c1", "c2", "c3"]
    assert read(book({"a": lines}), header=1).names == ["5.1", "3.5", "a"]
    assert len(read(book({"a": TABLE}), header="none", footer=1).table) == 3


@pytest.mark.parametrize("sheets", [{"a": []}, {"a": [[None, None]]}])
def test_an_empty_sheet_is_refused(sheets):
    assert error_of(book(sheets)) == "t.xlsx is empty"


def test_a_damaged_spreadsheet_is_one_error():
    whole = Path(book({"a": TABLE})).read_bytes()
    broken = whole.replace(b"xl/worksheets/sheet1.xml", b"xl/worksheets/sheetX.xml")
    Path("t.xlsx").write_bytes(broken)
    assert error_of("t.xlsx").startswith("t.xlsx cannot be ")
    Path("t.xlsx").write_bytes(whole[:-200])
    assert error_of("t.xlsx").startswith("t.xlsx cannot be ")


def test_an_old_spreadsheet_is_named():
    Path("t.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))
    assert error_of("t.xls") == "t.xls is an old Excel file (.xls): save it as .xlsx or .csv"


def test_a_text_that_is_called_a_spreadsheet_is_a_text():
    Path("t.xls").write_text("x\ty\n1\t2\n")
    assert rows(read("t.xls")) == [["1", "2"]]


def test_without_openpyxl_the_extra_is_named(monkeypatch):
    name = book({"a": TABLE})
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert error_of(name) == "t.xlsx: Excel needs pip install 'mlrun-cli[excel]'"


# --- all of them ----------------------------------------------------------------------------


def test_every_format_of_a_table_gives_the_same_cells():
    frame = pd.DataFrame(
        {"n": [1, 2, 3], "x": [0.5, np.nan, 2.25], "kind": ["a", None, "007"], "f": [True] * 3}
    )
    frame.to_csv("t.csv", index=False)
    frame.to_parquet("t.parquet", index=False)
    feather.write_feather(pa.Table.from_pandas(frame, preserve_index=False), "t.feather")
    frame.to_json("t.jsonl", orient="records", lines=True)
    frame.to_json("t.json", orient="records")
    frame.to_excel("t.xlsx", index=False)
    wanted = read("t.csv")
    for suffix in ("parquet", "feather", "jsonl", "json", "xlsx"):
        cells = read(f"t.{suffix}")
        assert (cells.names, rows(cells)) == (wanted.names, rows(wanted)), suffix
