"""Kinds of tables that public files showed: read right, with a line that says so, or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlrun.data.cells import FileSettings
from mlrun.data.encoding import guess
from mlrun.data.text_table import read_cells
from mlrun.errors import MlrunError
from tests.test_tabular import data_of, load

pytestmark = pytest.mark.usefixtures("workdir")
ROWS = range(24)
Said = Callable[..., str]


@pytest.fixture
def said() -> Said:
    """Read a table; return what was decided about it."""

    def load_table(text: str, **settings: Any) -> str:
        Path("t.csv").write_text(text, encoding="utf-8", newline="")
        return "\n".join(one.text for one in load(**settings).findings)

    return load_table


def table(*lines: str, header: str = "x,y") -> str:
    return "\n".join([header, *lines]) + "\n"


def column(text: str, name: str = "x", **settings: Any) -> list[float]:
    """Return the raw values of a feature of a trained model, of the training file."""
    Path("t.csv").write_text(text, encoding="utf-8", newline="")
    source = data_of("csv", train="t.csv", **settings)
    dataset = source.load()
    names = [entry["name"] for entry in dataset.contract["columns"]]
    rows = source.read_file(Path("t.csv"), dataset.contract, dataset.spec, allow_unknown=True)
    values: list[float] = rows.inputs[:, names.index(name)].tolist()
    return values


def names_of(text: str) -> tuple[list[str], int, dict[str, str]]:
    """Return names, number of rows and findings of a file."""
    Path("t.csv").write_text(text, encoding="utf-8", newline="")
    cells = read_cells(Path("t.csv"), FileSettings())
    return cells.names, len(cells.table), {one.what: one.text for one in cells.findings}


# --- numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelled", "value", "words"),
    [
        (lambda i: f'"({i + 1},000)"' if i % 2 else f'"{i + 1},000"', 1000, "(5) is -5"),
        (lambda i: f"{i + 1}0.50-" if i % 2 else f"{i + 1}0.50", 10, "5- is -5"),
        (lambda i: f"{'–' * (i % 2)}{i + 1}", 1, ""),
        (lambda i: f"{i + 1} kg", 1, "unit 'kg'"),
        (lambda i: f'"{i + 1},000+"', 1000, "unit '+'"),
        (lambda i: chr(0xFF11 + i % 9), 1, ""),
        (lambda i: f'"R$ {i + 1}.000,00"', 1000, "currency signs"),
        (lambda i: f'"₹ {i + 1},00,000"', 100_000, "thousands separated by ','"),
    ],
)
def test_amounts_of_many_countries_and_programs(said, spelled, value, words):
    text = table(*(f"{spelled(i)},{i}.5" for i in ROWS))
    first, second, third = column(text)[:3]
    signed = words.endswith("-5") or "–" in spelled(1)
    assert [round(v / value) for v in (first, second, third)] == [1, -2 if signed else 2, 3]
    assert words in said(text)


@pytest.mark.parametrize("mark", ["\ufeff", "\u200b", "\x1a", "\u00a0"])
def test_invisible_characters_do_not_count(mark):
    lines = [
        f"{i}{mark if i == 5 else ''},{'ab'[i % 2]}{mark if i == 4 else ''},{i}.5" for i in ROWS
    ]
    text = table(*lines, header="x,c,y")
    assert column(text) == [float(i) for i in ROWS]
    assert column(text, "c") == [float(i % 2) for i in ROWS]


def test_a_school_grade_of_2_minus_is_no_number(said):
    text = table(*(f"{'2-' if i % 2 else '3'},{i}.5" for i in ROWS))
    assert "not numbers as the others are ('2-')" in said(text)


def test_different_units_or_few_other_words_are_no_mistakes(said):
    text = table(*(f"{'1 year' if i == 1 else f'{i} years'},{i}.5" for i in ROWS))
    assert "x: texts, because 1 of 24 cells are not numbers as the others are ('1 year')" in said(
        text
    )


def test_different_currencies_are_told(said):
    text = table(*(f"{'$€'[i % 2]}{i},{i}.5" for i in ROWS))
    assert "x: numbers; currency signs; different currencies ($, €) are not converted" in said(text)


def test_words_in_many_cells_of_numbers_are_told_with_the_setting_that_reads_them(said):
    text = table(*(f"{'Inf' if i % 2 else i},{i}.5" for i in ROWS))
    assert (
        "x: texts, because 12 of 24 cells are not numbers as the others are ('Inf'); "
        "data.na_values=[Inf] makes them missing values"
    ) in said(text)
    assert np.isnan(column(text, na_values=["Inf"])).tolist() == [bool(i % 2) for i in ROWS]


def test_a_target_of_numbers_and_words_says_so():
    Path("t.csv").write_text(table(*(f"{i},{f'{i}.5 b' if i % 3 == 0 else i}" for i in range(60))))
    with pytest.raises(MlrunError, match=r"20 of 60 cells are not numbers as the others are"):
        load()


@pytest.mark.parametrize("word", ["..", ":", "\\N", "#DIV/0!", "(null)", "n.a."])
def test_gaps_of_statistical_offices_databases_and_spreadsheets(word):
    text = table(*(f"{word if i % 3 else i},{i}.5" for i in ROWS))
    assert np.isnan(column(text)).tolist() == [bool(i % 3) for i in ROWS]


@pytest.mark.parametrize(
    ("code", "others"), [("-200", 5.0), ("-999", -3.0), ("999", 0.5), ("9999.9", 20.0)]
)
def test_a_code_far_from_the_other_numbers_is_told(said, code, others):
    text = table(*(f"{code if i % 6 == 0 else others + i / 10},{i}.5" for i in ROWS))
    assert f"{code}: a number in 'x' (4), far from the others" in said(text)


@pytest.mark.parametrize("cells", [(-1, 1), (-20, 3), (99, 98, 97), (0, 999, 1)])
def test_usual_numbers_are_no_codes(said, cells):
    text = table(*(f"{cells[i % len(cells)]},{i}.5" for i in ROWS))
    assert "far from the other numbers" not in said(text)


def test_a_point_between_semicolons_that_may_separate_thousands_is_told(said):
    text = table(*(f"{i + 1}.{i * 13 % 1000:03};{i}" for i in ROWS), header="x;y")
    assert "decimal: point in 1.000: it does not separate thousands (data.decimal=comma)" in said(
        text
    )
    assert column(text, decimal="comma")[:2] == [1000, 2013]


def test_numbers_with_leading_zeros_are_told(said):
    text = table(*(f"{i:05},{i}.5" for i in ROWS), header="zip,y")
    assert (
        "leading zeros: in 'zip' (00000) mean nothing to numbers (data.categorical=[zip])"
        in said(text)
    )


# --- dates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "form"),
    [
        (lambda i: f"2023{i % 12 + 1:02}{i % 28 + 1:02}", "%Y%m%d"),
        (lambda i: f"2023{i % 12 + 1:02}{i % 28 + 1:02}{i:02}30", "%Y%m%d%H%M"),
        (lambda i: f"{i % 28 + 1}-Jan-99", "%d-%b-%y"),
        (lambda i: f"1/{i % 28 + 1}/99 {i % 12 + 1}:05:00 {'AP'[i % 2]}M", "%m/%d/%y %I:%M:%S %p"),
        (lambda i: f"Jan {i % 28 + 1} 2000", "%b %d %Y"),
        (lambda i: f"2023年{i % 12 + 1}月1日", "%Y年%m月%d日"),
        (lambda i: f"{i % 12 + 1:02}/{2000 + i // 12}", "%m/%Y"),
        (lambda i: f"2023-01-{i % 28 + 1:02} 10:00:00 UTC", "ISO8601"),
    ],
)
def test_dates_of_many_programs(said, when, form):
    assert f"when: dates; their format is {form}" in said(
        table(*(f"{when(i)},{i}.5" for i in ROWS), header="when,y")
    )


def test_the_first_day_of_each_month_comes_first_and_the_other_order_is_told(said):
    text = table(*(f"01/{i % 12 + 1:02}/{2000 + i // 12},{i}.5" for i in ROWS), header="when,y")
    assert "their format is %d/%m/%Y; %m/%d/%Y fits, too" in said(text)


def test_versions_and_numbers_are_no_dates(said):
    lines = [f"1.{i % 12 + 1}.{i % 9 + 10},{20_000_000 + i},{i}.5" for i in ROWS]
    assert "dates" not in said(table(*lines, header="version,n,y"))


def test_the_dates_that_keep_a_column_from_being_dates_are_told(said):
    text = table(*(f"{'0000-00-00' if i == 7 else f'2023-01-{i + 1:02}'},{i}.5" for i in ROWS))
    assert "1 of 24 cells are not dates as the others are ('0000-00-00'); data.na_values" in said(
        text
    )


# --- the rows of the header -----------------------------------------------------------------


def test_a_repeated_header_is_no_row():
    lines = [line for i in ROWS for line in ([f"{i},a,{i}.5"] if i % 6 else ["\ufeffx,c,y"])]
    names, rows, found = names_of(table(*lines[1:], header="x,c,y"))
    assert (names, rows) == (["x", "c", "y"], 20)
    assert found == {"repeated header": "repeated header: 3 rows among the rows skipped"}


BELOW = {
    "Campbell's loggers": (
        '"TOA5","6843","CR3000","6843"\n"TIMESTAMP","RECORD","Ux","Uy","y"\n'
        '"TS","RN","m/s","m/s","mg"\n"","","Smp","Smp","Smp"\n',
        "units: lines 3 to 4 are not data",
    ),
    "Orange": ("age\tx\tc\tz\ty\ndiscrete\tc\td\tc\td\n\t\t\t\tclass\n", "units: lines 2 to 3"),
    "Qualtrics": (
        "a,b,c,d,y\nStart,Is it so?,Why?,d,How?\n"
        + ",".join('"{""ImportId"":""Q""}"' for _ in range(5))
        + "\n",
        "units: lines 2 to 3",
    ),
    "a survey": (
        "a,b,c,d,y\nDuration,What is it?,Which one?,Are you old?,Why not so?\n",
        "line 2 is",
    ),
    "pandas": (
        "Price,Close,High,Low,y\nTicker,AAPL,AAPL,AAPL,AAPL\nDate,,,,\n",
        "units: lines 2 to 3",
    ),
}


@pytest.mark.parametrize("top", BELOW.values(), ids=BELOW)
def test_rows_below_the_header_that_are_no_data(top):
    separator = "\t" if "\t" in top[0] else ","
    rows = [f"2020-01-{i + 1:02},{i},2,{i}.5,{'ab'[i % 2]}".replace(",", separator) for i in ROWS]
    names, number, found = names_of(top[0] + "\n".join(rows) + "\n")
    assert (names[-1], number) == ("y", 24)
    assert top[1] in found["units"]


@pytest.mark.parametrize(
    ("top", "names"),
    [
        ("Who,Like?,,,Age\n,Apple,Pear,Plum,Answer\n", ["Who", *("Like? Apple", "Like? Pear")]),
        ("Men,,Women,,\nage,size,age,size,y\n", ["Men age", "Men size", "Women age"]),
    ],
)
def test_a_header_in_two_rows(top, names):
    found = names_of(top + "".join(f"{i},{i},{i},{i},{i}\n" for i in ROWS))
    assert found[0][:3] == names
    assert found[1] == 24
    assert "header: lines 1 to 2, in two rows" in found[2]["header"]


def test_a_title_above_rows_without_a_header(said):
    text = table(
        *(f"{i}, Private, {i * 7}, {'<>'[i % 2]}50K." for i in ROWS), header="|1x3 Cross validator"
    )
    assert "preamble: 1 line above the table skipped ('|1x3 Cross validator')" in said(text)
    assert column(text, "c1") == [float(i) for i in ROWS]


def test_a_header_with_another_separator_is_no_title():
    Path("t.csv").write_text(table(*(f"{i},{i},{i}" for i in ROWS), header="a b c"))
    with pytest.raises(MlrunError, match="line 2: 3 fields, but the header has 1"):
        load()


def test_a_comma_more_in_the_header_than_in_the_rows_below_a_title():
    top = "Series Id: LNS14\n\nAge: 16 years\n\n"
    names, rows, found = names_of(
        top + table(*(f"L,{1950 + i},Q1,{i}.5" for i in ROWS), header="id,Year,Period,Value,")
    )
    assert (names, rows) == (["id", "Year", "Period", "Value"], 24)
    assert "2 lines above the table skipped" in found["preamble"]


def test_an_empty_comment_below_the_commented_header():
    text = "# FREE\n# \n# STN,YYYYMMDD,   TG\n# \n" + "".join(
        f"  260,202001{i + 1:02},{i:5}\n" for i in ROWS
    )
    assert names_of(text)[:2] == (["STN", "YYYYMMDD", "TG"], 24)


def test_a_rule_ends_the_table():
    body = table(*(f"31.12.{1950 + i};{i}" for i in ROWS), header="Stichtag;y")
    names, rows, found = names_of(f"{body}__________\n(C)opyright Destatis\nStand: 01.03.2023\n")
    assert (names, rows) == (["Stichtag", "y"], 24)
    assert "2 rows below the table not read ('(C)opyright Destatis')" in found["footer"]


def test_lists_with_bars_at_both_ends():
    rule = "|----------------|\n"
    body = "".join(f"|M{i:04}|{i:4}|{i:4}|\n" for i in ROWS)
    names, rows, _ = names_of(f"{rule}|Mat  |x   |y   |\n{rule}{body}{rule}")
    assert (names[1:], rows) == (["Mat", "x", "y"], 24)


# --- what is told ---------------------------------------------------------------------------


def test_a_row_of_totals_is_told(said):
    text = table(*(f"{'ab'[i % 2]},{i}.5" for i in ROWS), "Grand Total,276.0", header="c,y")
    assert "the last row seems to be a total (column 'c': 'Grand Total') (data.footer=1)" in said(
        text
    )


def test_spellings_that_differ_in_case_are_told(said):
    text = table(*(f"{i},{('Yes', 'yes', 'No')[i % 3]}" for i in ROWS))
    assert "y: 'Yes' and 'yes' differ only in case or blanks; they stay different" in said(text)


def test_words_for_gaps_among_texts_are_told(said):
    text = table(*(f"{('?', 'a', 'b')[i % 3]},{('.', 'm', 'f')[i % 3]}" for i in ROWS))
    printed = said(text)
    assert "'?': a text like others in 'x' (8)" in printed
    assert "'.': a text like others in 'y' (8); a missing value?" in printed


def test_names_in_a_short_table_are_told(said):
    text = table(*(f"{i // 12 + 1}-{i % 12 + 1:02},{i}.5" for i in ROWS), header="Month,y")
    assert "nearly another text in each of the 24 rows: 'Month' (24)" in said(text)


def test_many_columns_that_are_read_alike_share_a_line(said):
    header = ",".join(f"v{j}" for j in range(30)) + ",y"
    lines = [",".join("?" if i == j % 24 else f"{i}" for j in range(30)) + f",{i}.5" for i in ROWS]
    printed = said(table(*lines, header=header))
    assert "v0 and 29 more: numbers; '?' is missing" in printed


# --- refusals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.sqlite", b"SQLite format 3\0", "t.sqlite is a SQLite database: save it as"),
        ("t.pkl", b"\x80\x04\x95\x0e\0\0\0", "t.pkl is a pickle, which could run code: save it as"),
        ("t.dta", b"<stata_dta><header>", "t.dta is a Stata file: save it as"),
        ("t.arff", b"% iris\n@RELATION iris\n", r"t.arff is a file of Weka \(ARFF\): save it as"),
        ("t.json", b'{"a": {"0": 1}}', r"pandas writes one with to_json\(orient='records'\)"),
    ],
)
def test_files_of_other_programs_are_named(name, content, message):
    Path(name).write_bytes(content)
    with pytest.raises(MlrunError, match=message):
        load(train=name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table(*(f'"a \\"b, c\\" {i}",{i}' for i in ROWS)), 'write a quote within quotes as ""'),
        (
            "x,x\na,b\n" + "1,2\n" * 9,
            "data.duplicates=number or, if another line has the names",
        ),
        ("Name     y\n" + "Joe Smith    1\n" * 9, "It was read as one column: see data.separator"),
        (table("Duration (in seconds),1.5", *(f"{i},{i}.5" for i in ROWS)), "data.units=row$"),
        (table(*(f"{'6.2' + chr(7) if i == 9 else i},{i}.5" for i in ROWS)), r"'6\.2\\x07'"),
    ],
)
def test_refusals_say_what_to_do(text, message):
    Path("t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(MlrunError, match=message):
        load(target="y")


# --- encodings and formats ------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["PRECIPITAÇÃO;TEMPERATURA DO AR (°C)", "Situação;Educação;Opções", "1\u00a0000 €;5\u00a0€"],
)
def test_western_text_with_two_accents_in_a_row(text):
    assert guess(text.encode("cp1252")) == "cp1252"


def test_objects_in_lines_may_be_called_json():
    Path("t.json").write_text("".join(f'{{"a": {i}, "y": {i}.5}}\n' for i in ROWS))
    dataset = load(train="t.json")
    assert len(dataset.train) + len(dataset.valid) == 24
