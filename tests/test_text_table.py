"""Delimited text files as tables of texts: cells as the file spells them, whole or in batches."""

import csv
import io
import random
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st

from mlrun.data import text_file
from mlrun.data.cells import Cells, FileSettings
from mlrun.data.text_table import read_cells, read_cells_in_batches
from mlrun.errors import MlrunError
from tests.fuzzing import refused, shares

PATH = Path("t.csv")
BLANKS = " \t\n\r\v\f"


def read(content: str | bytes, **settings: Any) -> Cells:
    """Write the content to a file and read it; the batches have the same cells."""
    PATH.write_bytes(content.encode() if isinstance(content, str) else content)
    whole = read_cells(PATH, FileSettings(**settings))
    pieces = [*read_cells_in_batches(PATH, FileSettings(**settings), block=64)]
    batches = pd.concat([piece.table for piece in pieces], ignore_index=True)
    pd.testing.assert_frame_equal(whole.table, batches)
    np.testing.assert_array_equal(whole.rows, np.concatenate([piece.rows for piece in pieces]))
    assert whole.findings == pieces[-1].findings
    return whole


def rows(cells: Cells) -> list[list[Any]]:
    """The cells row by row; missing ones are None."""
    return [[None if pd.isna(c) else c for c in row] for row in cells.table.to_numpy().tolist()]


def found(cells: Cells) -> dict[str, str]:
    return {finding.what: finding.value for finding in cells.findings}


def error_of(content: str | bytes, **settings: Any) -> str:
    with pytest.raises(MlrunError) as caught:
        read(content, **settings)
    return str(caught.value)


# --- cells ----------------------------------------------------------------------------------


def test_cells_keep_the_spelling_of_the_file():
    spelled = ["007", "1.10", "90071992547409921", "TRUE", "None", "NA", "nan", "$1", "10 %"]
    cells = read("k,x\n" + "".join(f"a,{word}\n" for word in spelled))
    assert cells.table["x"].tolist() == spelled


def test_all_columns_are_texts():
    cells = read("a,b\n1,2.5\n3,x\n")
    assert all(isinstance(cell, str) for cell in cells.table.to_numpy().ravel())


@pytest.mark.parametrize("empty", ["", '""', "  ", '" "'])
def test_an_empty_field_is_missing(empty):
    assert rows(read(f"a,b\n{empty},2\n")) == [[None, "2"]]


def test_blanks_around_names_and_cells_are_dropped():
    cells = read('a , b\n 1 ,"  x "\n')
    assert (cells.names, rows(cells)) == (["a", "b"], [["1", "x"]])


def test_a_quoted_field_may_hold_the_separator_and_line_breaks_and_quotes():
    assert rows(read('a,b\n"x, y","1\n2"\n"6"" screen",z\n')) == [
        ["x, y", "1\n2"],
        ['6" screen', "z"],
    ]


def test_a_quote_within_an_unquoted_field_is_a_sign_like_others():
    assert rows(read('a,b\n6" screen,1\nx,2\n')) == [['6" screen', "1"], ["x", "2"]]


def test_a_quoted_field_may_follow_a_space():
    assert rows(read('a,b\n1, "x, y"\n')) == [["1", "x, y"]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_kind_of_line_end_is_read(end):
    assert rows(read(f"a,b{end}1,2{end}3,4")) == [["1", "2"], ["3", "4"]]


@pytest.mark.parametrize("text", ["\n\na,b\n1,2\n3,4\n", "a,b\n\n1,2\n  \n3,4\n\n\n"])
def test_blank_lines_are_skipped_and_do_not_count(text):
    cells = read(text)
    assert (rows(cells), cells.rows.tolist()) == ([["1", "2"], ["3", "4"]], [1, 2])


def test_blanks_separate_fields_however_many_they_are():
    cells = read('  x   y  name\n 1.0  2.5   "a b"\n10.0 3.5 c\n\n2.0    4  d  \n')
    assert cells.names == ["x", "y", "name"]
    assert rows(cells) == [["1.0", "2.5", "a b"], ["10.0", "3.5", "c"], ["2.0", "4", "d"]]


def test_a_column_without_a_name_gets_one():
    assert read(",x\n0,1\n1,2\n").names == ["Unnamed: 0", "x"]


def test_names_that_repeat_are_refused_or_numbered():
    message = "columns 1 and 3 all have the name 'x'; rename them, set data.duplicates=number"
    assert message in error_of("x,y,x\n1,2,3\n")
    assert read("x,y,x\n1,2,3\n", duplicates="number").names == ["x", "y", "x.1"]


@pytest.mark.parametrize("name", ["2021", "价格", "Preis (€)", "a.b", "x[0]", "a=b", "{x}"])
def test_odd_names_are_kept(name):
    assert read(f"k,{name}\na,1\nb,2\n").names == ["k", name]


# --- rows that are left out -----------------------------------------------------------------


def test_rows_without_a_cell_are_skipped_and_counted():
    cells = read("x,y\n1,2\n,\n3,4\n,\n,\n")
    assert (rows(cells), cells.rows.tolist()) == ([["1", "2"], ["3", "4"]], [1, 3])
    assert found(cells) == {"empty rows": "3 rows skipped"}


def test_columns_without_name_and_values_at_the_end_are_left_out():
    cells = read("x,y,,\n0,1,,\n1,2,,\n")
    assert (cells.names, rows(cells)) == (["x", "y"], [["0", "1"], ["1", "2"]])
    assert found(cells)["empty columns"].startswith("2 columns")


def test_rows_may_end_in_one_more_separator():
    assert rows(read("x,y\n0,1,\n1,2,\n2,3\n")) == [["0", "1"], ["1", "2"], ["2", "3"]]


def test_a_value_in_a_column_that_was_left_out_is_refused():
    lines = "".join(f"{i},{i},\n" for i in range(1100))
    assert "line 1102: 3 fields, but the header has 2" in error_of(f"x,y\n{lines}1,2,3\n")


@pytest.mark.parametrize(
    "note", ["Source: the ministry,,\n", "\nSource: the ministry\n", "(3 rows)"]
)
def test_a_note_below_the_table_is_no_row(note):
    cells = read(f"a,b,c\n1,2,3\n4,5,6\n7,8,9\n{note}")
    assert len(cells.table) == 3
    assert "not read" in found(cells)["footer"]


@pytest.mark.parametrize("last", ["-5,25 %", "1.234,50", "7,5", "1,234.50 €", "?", "2024-01-31"])
def test_a_last_row_with_a_number_in_any_spelling_is_kept(last):
    cells = read(f"a;b\n1;2\n3;4\n5;6\n{last};\n")
    assert cells.table["a"].tolist() == ["1", "3", "5", last]


def test_footer_none_keeps_the_last_row():
    assert len(read("a,b,c\n1,2,3\nTotal,,\n", footer="none").table) == 2


def test_footer_leaves_out_a_number_of_rows():
    assert rows(read("a,b\n1,2\n3,4\nsum,6\nnote\n", footer=2)) == [["1", "2"], ["3", "4"]]


def test_a_last_row_with_nothing_but_its_id_is_kept():
    assert len(read("id,x,y\n1,2,3\n2,,\n").table) == 2
    assert len(read("name,x,y\nAnn,2,3\nBob,,\n").table) == 2


def test_a_file_cut_within_its_last_line_is_refused():
    assert "line 3: 1 field, but the header has 2" in error_of("a,b\n1,2\n3")
    assert "line 3: 1 field, but the header has 2" in error_of("name,b\nAnn,2\nBo")


def test_comment_lines_between_rows_are_skipped():
    cells = read("x,y\n1,2\n# a pause\n3,4\n")
    assert rows(cells) == [["1", "2"], ["3", "4"]]
    assert found(cells) == {"comments": "1 line between the rows skipped"}


def test_the_table_of_a_database_shell_is_read():
    text = " id | name \n----+------\n  1 | Ann  \n  2 | Bob  \n(2 rows)\n"
    assert rows(read(text)) == [["1", "Ann"], ["2", "Bob"]]


def test_texts_with_commas_in_one_column_are_refused():
    assert "line 2: 2 fields, but the header has 1" in error_of("text\nHello, world\nfine\na, b\n")


def test_a_cell_that_starts_like_a_comment_is_a_cell():
    assert rows(read("tag,y\n#a,2\n#b,4\n")) == [["#a", "2"], ["#b", "4"]]


def test_lines_with_the_chosen_comment_sign_are_no_rows():
    assert rows(read("x,y\n1,2\n!3,4\n5,6\n", comment="!")) == [["1", "2"], ["5", "6"]]


# --- what is refused ------------------------------------------------------------------------


def test_a_missing_file_and_a_folder_are_named(workdir):
    with pytest.raises(MlrunError, match=r"cannot read nowhere\.csv: No such file"):
        read_cells(Path("nowhere.csv"))
    with pytest.raises(MlrunError, match=r"cannot read .*directory"):
        read_cells(workdir)


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(content):
    assert error_of(content) == "t.csv is empty"


def test_a_header_alone_is_refused():
    assert error_of("a,b\n") == "t.csv has a header but no rows"


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\nQ1Q,2\n1,2,3\n", "line 3: 3 fields, but the header has 2"),
        ("a,b,c\nQ1Q,2,3\n1,2\n", "line 3: 2 fields, but the header has 3"),
        ("a,b\n\nQ1Q,2\n\n1,2,3\n", "line 5: 3 fields, but the header has 2"),
        ("\n\na,b\nQ1Q,2,3\n", "line 4: 3 fields, but the header has 2"),
        ("a\tb\n\t\t\t\t\nQ1Q\t2\n", "line 2: 5 fields, but the header has 2"),
        ("a\tb\n\t\t\nQ1Q\t2\n", "line 2: 3 fields, but the header has 2"),
        ("x\nQ1Q,2\n3,4\n", "line 2: 2 fields, but the header has 1"),
    ],
)
def test_a_row_with_another_number_of_fields_is_named(quote, text, message):
    assert error_of(text.replace("Q", quote)) == f"t.csv, {message}"


def test_quoted_line_breaks_count_in_the_line_that_is_named():
    assert "line 4: 3 fields" in error_of('a,b\n"x\ny",1\n1,2,3\n')


@pytest.mark.parametrize(
    "text", ['a\n"1\n2\n', 'a,b\n1,"2', 'a,b\n1,2\n3,"b""', 'a,b\n"x,1\ny,2\n']
)
def test_a_quote_that_never_closes_is_refused(text):
    message = error_of(text)
    assert message.startswith("t.csv cannot be read as CSV: a quote that opens in line ")


def test_zero_bytes_are_refused():
    assert error_of("a,b\n1,2\0\n") == "t.csv contains zero bytes: it is not a CSV file"


def test_a_page_of_html_is_refused():
    assert error_of("<!DOCTYPE html>\n<p>Not found\n") == "t.csv is an HTML page, not a table"


def test_bytes_that_are_no_text_are_refused_with_their_line():
    message = error_of(b"a,b\n1,\xff\xfe\xfd\xc0\xc1\n", encoding="utf-8")
    assert message.startswith("t.csv, line 2: not UTF-8 text; set data.encoding=")


# --- encodings ------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_is_read_in_every_form(encoding):
    assert rows(read("naïve,名\nü,1\né,2\n".encode(encoding))) == [["ü", "1"], ["é", "2"]]


def test_accents_beyond_the_sample_decide_the_encoding(monkeypatch):
    monkeypatch.setattr(text_file, "SAMPLE", 100)
    lines = "".join(f"Anna,{i}\n" for i in range(100))
    cells = read(f"name,x\n{lines}José,3\n".encode("cp1252"))
    assert rows(cells)[-1] == ["José", "3"]
    assert found(cells) == {"encoding": "cp1252"}


def test_the_encoding_can_be_chosen():
    assert rows(read("šíp,x\nčáp,1\n".encode("cp1250"), encoding="cp1250")) == [["čáp", "1"]]


# --- both readers and Python's csv module agree ----------------------------------------------

ALPHABET = st.text(st.sampled_from("ab1.,;|\t\"' \n\r#é价\u00a0\u2028=-"), max_size=6)
TABLES = st.tuples(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(
            st.lists(ALPHABET, min_size=width, max_size=width), min_size=1, max_size=8
        )
    ),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.integers(0, 2**32),
    st.sampled_from([16, 64, 2**20]),
)


def written(table: list[list[str]], separator: str, end: str, seed: int) -> str:
    """The file; fields that need no quotes have some at random, or a blank in front of them."""
    random_ = random.Random(seed)

    def field(cell: str) -> str:
        special = any(sign in cell for sign in f'{separator}"\r\n')
        quoted = special or random_.random() < 0.2
        text = '"' + cell.replace('"', '""') + '"' if quoted else cell
        return " " + text if random_.random() < 0.05 else text

    lines = [separator.join(field(cell) for cell in row) for row in table]
    return end.join(lines) + end * random_.randrange(3)


def expected(text: str, separator: str) -> tuple[list[list[str | None]], list[int]]:
    """The rows that are not empty, and their numbers, by Python's csv module."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text)
    records = [*csv.reader(lines, delimiter=separator, skipinitialspace=True)][1:]
    kept, numbers, number = [], [], 0
    for fields in records:
        if not fields:
            continue
        number += 1
        cells = [field.strip(BLANKS) or None for field in fields]
        if any(cells):
            kept.append(cells)
            numbers.append(number)
    return kept, numbers


@shares(fast=150, soak=6_000, parts=2)
def test_both_readers_agree_with_the_csv_module(share):
    pinned: dict[str, Any] = {"header": 1, "comment": "none", "footer": "none", "units": "none"}

    def check(drawn: Any) -> None:
        table, separator, end, seed, block = drawn
        names = [f"name{i}" for i in range(len(table[0]))]
        text = written([names, *table], separator, end, seed)
        PATH.write_bytes(text.encode())
        settings = FileSettings(separator=separator, **pinned)
        wanted, numbers = expected(text, separator)
        if not wanted:
            assert refused(lambda: read_cells(PATH, settings))
            return
        cells = read_cells(PATH, settings)
        pieces = [*read_cells_in_batches(PATH, settings, block=block)]
        assert rows(cells) == wanted, text
        assert [row for piece in pieces for row in rows(piece)] == wanted, text
        assert cells.rows.tolist() == numbers
        assert [n for piece in pieces for n in piece.rows.tolist()] == numbers

    share.of(TABLES, check)


@shares(fast=150, soak=6_000, parts=2)
def test_any_bytes_are_read_or_refused(share):
    def check(content: bytes) -> None:
        PATH.write_bytes(content)
        if not refused(lambda: read_cells(PATH)):
            cells = read_cells(PATH)
            assert len(cells.table) == len(cells.rows) > 0
            assert all(a < b for a, b in pairwise(cells.rows.tolist()))

    signs = st.text(st.sampled_from('ab1.,;|\t"\n\r# é\0=€'), max_size=40)
    share.of(st.one_of(st.binary(max_size=60), signs.map(str.encode)), check)


def test_a_large_file_is_read_with_little_memory():
    """The batches of a file larger than the block are many, and each is small."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["a", "b"], *([f"text {i}", i] for i in range(20_000))])
    PATH.write_text(buffer.getvalue())
    pieces = [*read_cells_in_batches(PATH, block=2**14)]
    assert len(pieces) > 10
    assert max(len(piece.table) for piece in pieces) < 3000
    assert sum(len(piece.table) for piece in pieces) == 20_000
