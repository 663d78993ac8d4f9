"""Reading CSV files: what is understood, and what is refused with its place."""

import io
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlrun.data.cells import FileSettings
from mlrun.data.column_kinds import reading_of
from mlrun.data.column_values import as_numbers, as_text, first_missing
from mlrun.data.number_format import MISSING_WORDS
from mlrun.data.table_file import read_table
from mlrun.errors import MlrunError

PATH = Path("t.csv")
quick = settings(max_examples=150, deadline=None)


def read(content: str | bytes, *, duplicates: str = "error") -> pd.DataFrame:
    """Write the content to a file and read it."""
    PATH.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(PATH, FileSettings(duplicates=duplicates)).table


def lists(table: pd.DataFrame) -> dict[str, list[object]]:
    return {str(name): table[name].tolist() for name in table}


# --- what is understood ---------------------------------------------------------------------


@pytest.mark.parametrize("separator", ",;\t|")
def test_the_separator_is_the_one_the_header_uses(separator):
    text = "a,b,c\n1,2,3\n".replace(",", separator)
    assert lists(read(text)) == {"a": [1], "b": [2], "c": [3]}


def test_a_decimal_point_stays_one_in_a_semicolon_file():
    assert lists(read("a;b\n1.5;2\n")) == {"a": [1.5], "b": [2]}


def test_a_byte_order_mark_is_no_part_of_the_first_name():
    assert list(read(b"\xef\xbb\xbfa,b\n1,2\n")) == ["a", "b"]


def test_a_quoted_field_may_hold_the_separator():
    assert lists(read('a,b\n"x, y",2\n')) == {"a": ["x, y"], "b": [2]}


def test_a_quoted_field_may_follow_a_space():
    assert lists(read('a,b\n1, "x, y"\n')) == {"a": [1], "b": ["x, y"]}


def test_a_quoted_field_may_hold_a_line_break():
    assert lists(read('a,b\n"x\ny",2\n')) == {"a": ["x\ny"], "b": [2]}


def test_a_quoted_field_may_hold_quotes():
    assert lists(read('a,b\n"6"" screen",2\n')) == {"a": ['6" screen'], "b": [2]}


@pytest.mark.parametrize("text", ["\n\na,b\n1,2\n3,4\n", "a,b\n\n1,2\n  \n3,4\n\n\n"])
def test_blank_lines_are_skipped(text):
    assert lists(read(text)) == {"a": [1, 3], "b": [2, 4]}


def test_windows_line_ends_are_read():
    assert lists(read("a,b\r\n1,2\r\n3,4\r\n")) == {"a": [1, 3], "b": [2, 4]}


def test_a_last_line_without_an_end_is_read():
    assert lists(read("a,b\n1,2\n3,4")) == {"a": [1, 3], "b": [2, 4]}


def test_spaces_around_names_and_values_are_dropped():
    assert lists(read("a , b\n1, x\n")) == {"a": [1], "b": ["x"]}


def test_an_empty_field_is_a_missing_value():
    assert np.isnan(read("a,b\n,2\n")["a"][0])


def test_names_in_other_scripts_are_kept():
    assert list(read("价格,größe\n1,2\n")) == ["价格", "größe"]


@pytest.mark.parametrize("name", ["id", "ID"])
def test_an_id_is_kept_as_the_text_it_is(name):
    assert lists(read(f"{name},a\n007,08\n1.50,9\n")) == {name: ["007", "1.50"], "a": [8, 9]}


def test_a_column_that_was_named_is_kept_as_text():
    PATH.write_text("key,a\n007,1\n")
    assert lists(read_table(PATH, texts=["key"]).table) == {"key": ["007"], "a": [1]}


# --- what is refused ------------------------------------------------------------------------


def test_a_missing_file_is_named():
    with pytest.raises(MlrunError, match=r"cannot read nowhere\.csv: No such file"):
        read_table(Path("nowhere.csv"))


def test_a_folder_is_no_file(workdir):
    with pytest.raises(MlrunError, match=r"cannot read .*directory"):
        read_table(workdir)


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(content):
    with pytest.raises(MlrunError, match=r"t\.csv is empty"):
        read(content)


def test_a_header_alone_is_refused():
    with pytest.raises(MlrunError, match="header but no rows"):
        read("a,b\n")


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_line_with_too_many_fields_is_named(quote):
    with pytest.raises(MlrunError, match=r"t\.csv, line 3: 3 fields, but the header has 2"):
        read(f"a,b\n{quote}1{quote},2\n1,2,3\n")


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_line_with_too_few_fields_is_named(quote):
    with pytest.raises(MlrunError, match=r"t\.csv, line 3: 2 fields, but the header has 3"):
        read(f"a,b,c\n{quote}1{quote},2,3\n1,2\n")


def test_blank_lines_count_in_the_line_that_is_named():
    with pytest.raises(MlrunError, match="line 5: 3 fields"):
        read("a,b\n\n1,2\n\n1,2,3\n")


def test_quoted_line_breaks_count_in_the_line_that_is_named():
    with pytest.raises(MlrunError, match="line 4: 3 fields"):
        read('a,b\n"x\ny",1\n1,2,3\n')


def test_a_quote_that_never_closes_is_refused():
    with pytest.raises(MlrunError, match="cannot be read as CSV"):
        read('a\n"1\n2\n')


def test_text_that_is_not_utf8_is_refused_with_its_line():
    with pytest.raises(MlrunError, match="line 3: not UTF-8"):
        read("a,b\n1,2\nGröße,3\n".encode("latin-1"))


def test_zero_bytes_are_refused():
    with pytest.raises(MlrunError, match="zero bytes"):
        read(b"a,b\n1,2\n3,4\n5,6\n7,\0\n")


# --- columns of one name --------------------------------------------------------------------


def test_columns_of_one_name_are_refused_with_their_places():
    with pytest.raises(MlrunError, match=r"columns 1 and 3 .*'a'.*data\.duplicates=number"):
        read("a,b,a\n1,2,3\n")


def test_names_that_differ_in_spaces_only_are_the_same():
    with pytest.raises(MlrunError, match="columns 1 and 2"):
        read("a, a\n1,2\n")


def test_columns_of_one_name_are_numbered_on_request():
    table = read("a,b,a,a\n1,2,3,4\n", duplicates="number")
    assert lists(table) == {"a": [1], "b": [2], "a.1": [3], "a.2": [4]}


def test_a_number_that_is_taken_is_not_given_again():
    assert list(read("a,a,a.1\n1,2,3\n", duplicates="number")) == ["a", "a.2", "a.1"]


@given(st.lists(st.sampled_from(["a", "a.1", "a.1.1", "a.2", "b"]), min_size=1, max_size=7))
@quick
@pytest.mark.slow
def test_names_are_numbered_as_pandas_does(names):
    text = ",".join(names) + "\n" + ",".join("1" * len(names)) + "\n"
    expected = list(pd.read_csv(io.StringIO(text)))
    assert list(read(text, duplicates="number")) == expected


# --- any file at all ------------------------------------------------------------------------

PIECES = ["a", "b", "1", "2.5", "é", " ", "NA", "inf", "\n", "\n", "\r\n", "\r", ",", ",", ";"]
PIECES += ["\t", "|", '"', "'", "\\", "\f", "\u2028", "\ufeff", "\0"]
csv_like = st.lists(st.sampled_from(PIECES), max_size=30).map(lambda parts: "".join(parts).encode())


@given(st.binary(max_size=60) | csv_like, st.sampled_from(["error", "number"]))
@quick
def test_any_bytes_give_a_table_or_a_refusal(content, duplicates):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.csv"
        path.write_bytes(content)
        try:
            table = read_table(path, FileSettings(duplicates=duplicates)).table
        except MlrunError:
            return
    assert len(table) > 0
    assert table.columns.is_unique


values = st.floats(-1e300, 1e300, allow_subnormal=False) | st.just(float("nan"))


@given(
    arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(2, 5)), elements=values),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig"]),
)
@quick
@pytest.mark.slow
def test_numbers_that_pandas_wrote_come_back(numbers, separator, line_end, encoding):
    written = pd.DataFrame(numbers, columns=[f"c{i}" for i in range(numbers.shape[1])])
    assume(written.notna().any(axis=None))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "numbers.csv"
        written.to_csv(path, sep=separator, index=False, lineterminator=line_end, encoding=encoding)
        table = read_table(path).table
    assert list(table) == list(written)
    filled = written.dropna(how="all")  # a wholly empty row is none
    np.testing.assert_array_equal(table.to_numpy(float), filled.to_numpy())


# --- a column as numbers, as text -----------------------------------------------------------


def test_text_in_a_number_column_names_row_and_column():
    table = read("a,b\n1,2\n1,many\n")
    with pytest.raises(MlrunError, match=r"t\.csv, row 2, column 'b': 'many' is not a finite"):
        as_numbers(table["b"], PATH)


def test_the_row_that_is_named_is_the_files_row():
    rows = read("a\n1\n2\nx\n").iloc[[2, 0]]
    with pytest.raises(MlrunError, match="row 3"):
        as_numbers(rows["a"], PATH)


@pytest.mark.parametrize("value", ["inf", "-inf", "1e999"])
def test_an_infinite_number_is_refused(value):
    with pytest.raises(MlrunError, match=rf"row 2, column 'a': '{value}' is not a finite number"):
        as_numbers(read(f"a\n1\n{value}\n")["a"], PATH)


def test_advice_stands_at_the_end_of_a_refusal():
    with pytest.raises(MlrunError, match=r"not a finite number; drop it$"):
        as_numbers(pd.Series(["x"], name="a"), PATH, advice="; drop it")


def test_missing_numbers_are_nan():
    np.testing.assert_array_equal(
        as_numbers(read("a,b\n1,0\n,0\n")["a"], PATH), np.array([1.0, np.nan])
    )


def test_booleans_are_one_and_zero():
    column = read("a\nTRUE\nfalse\n")["a"]
    reading = reading_of(column, decimal=".", na_values=MISSING_WORDS)
    assert (reading.kind, reading.form.flags) == ("numbers", True)
    assert as_numbers(column, PATH, form=reading.form).tolist() == [1.0, 0.0]


def test_whole_floats_and_ints_and_text_are_the_same_text():
    column = pd.Series([3, 3.0, "3", " 3 ", np.float32(3)], dtype=object)
    assert set(as_text(column)) == {"3"}


def test_fractions_keep_their_digits_as_text():
    assert as_text(pd.Series([0.5, 1.0])).tolist() == ["0.5", "1"]


def test_missing_text_is_none():
    assert as_text(read("a,b\nx,0\n,0\n")["a"]).tolist() == ["x", None]


def kind(text: str) -> str:
    return reading_of(read(text)["a"], decimal=".", na_values=MISSING_WORDS).kind


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("1\n2\nx", "numbers"), ("1\nx", "numbers"), ("1\nx\ny", "texts"), ("x\ny", "texts")],
)
def test_a_column_is_numeric_when_half_its_values_are(text, wanted):
    assert kind(f"a\n{text}\n") == wanted


def test_missing_values_do_not_affect_a_columns_type():
    assert kind("a,b\n1,0\n,0\n,0\n,0\nx,0\n") == "numbers"


def test_the_first_missing_value_is_found():
    assert first_missing(np.array(["a", None, None], dtype=object)) == 1


def test_no_missing_value_is_found_where_none_is():
    assert first_missing(np.array([1.0, 2.0])) is None
