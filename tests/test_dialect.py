"""What is decided about a text file, what is said of it, and the settings that decide otherwise."""

from typing import Any

import pytest
from hypothesis import strategies as st

from mlrun.data.cells import FileSettings
from mlrun.data.dialect import Dialect, detect
from mlrun.data.findings import Finding
from mlrun.errors import MlrunError
from tests.fuzzing import refused, shares


def of(content: str | bytes, **settings: Any) -> Dialect:
    sample = content.encode() if isinstance(content, str) else content
    return detect(sample, FileSettings(**settings))


def said(dialect: Dialect) -> dict[str, str]:
    return {finding.what: finding.value for finding in dialect.findings}


def overrides(dialect: Dialect) -> dict[str, str]:
    return {finding.what: finding.override for finding in dialect.findings}


def lines(*rows: str, times: int = 1) -> str:
    header, *body = rows
    return "\n".join([header, *(body * times)]) + "\n"


def test_of_a_plain_file_nothing_is_said():
    dialect = of("a,b,c\n1,2.5,x\n3,4.5,y\n")
    assert (dialect.separator, dialect.decimal, dialect.names) == (",", ".", ("a", "b", "c"))
    assert dialect.findings == ()


# --- separators -----------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [";", "\t", "|", " "])
def test_the_separator_is_found_and_said(separator):
    dialect = of("a,b,c\n1,2,3\n4,5,6\n".replace(",", separator))
    assert dialect.names == ("a", "b", "c")
    shown = {"\t": "tab", " ": "blanks"}.get(separator, f"'{separator}'")
    assert dialect.findings == (Finding("separator", shown, "data.separator=…"),)


def test_commas_in_names_and_numbers_do_not_beat_semicolons():
    dialect = of("Temp (C, mean);Hum (%, mean);y\n0,5;0,25;0\n1,5;2,25;1\n")
    assert (dialect.separator, dialect.decimal) == (";", ",")
    assert dialect.names == ("Temp (C, mean)", "Hum (%, mean)", "y")


def test_the_separator_gives_all_rows_the_same_number_of_fields():
    assert of("a|b;c\n1|2;3\n4;5|6;7\n2;3|1;2\n").separator == "|"


def test_an_unclosed_bracket_speaks_against_a_separator():
    assert of("size (m,wide);b\nx,y;u\nx,z;v\n").separator == ";"


def test_separators_in_quotes_do_not_count():
    assert of('"a;b;c",d\n"1;2;3",2\n').separator == ","


def test_blanks_within_texts_are_no_separator():
    assert of("full name,city\nAnn Lee,New York\nBob Ray,San Jose\n").separator == ","
    assert of("full name\nAnn Lee\nBob Ray\n").separator == ","
    assert of("when\n2024-01-01 00:00\n2024-01-02 00:00\n").width == 1


def test_dates_with_times_are_no_columns_of_blanks():
    assert of(lines("date time,y", "2024-01-01 00:00:00,0.5", "2024-01-01 01:00:00,0.7")).width == 2


def test_a_list_in_a_cell_does_not_beat_the_comma():
    assert of("film,genre,y\nA,x|y|z,1\nB,x,2\nC,y|z,3\n").separator == ","


def test_the_separator_can_be_chosen():
    dialect = of("a;b,c\n1;2,3\n", separator="semicolon")
    assert (dialect.separator, dialect.names) == (";", ("a", "b,c"))
    assert "separator" not in said(dialect)


# --- decimals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "sign"),
    [
        (["0,5", "1,25"], ","),
        (["1.234,5", "999,5"], ","),
        (["1.234", "123,4"], ","),
        (["1,234", "2,345"], ","),
        (["1.5", "2.25"], "."),
        (["1,234.5", "999.25"], "."),
        (["1,234", "1.5"], "."),
        (["12", "13"], "."),
        (["12,5 %", "3,25 %"], ","),
        (["-0,500", "0,125"], ","),
    ],
)
def test_the_decimal_separator_follows_from_the_cells(cells, sign):
    assert of("x;y\n" + "".join(f"{cell};1\n" for cell in cells)).decimal == sign


def test_commas_between_thousands_are_no_decimals_in_a_comma_file():
    assert of('x,price\n0,"12,999"\n1,"1,000,000"\n').decimal == "."


def test_decimal_commas_in_quotes_are_found_in_a_comma_file():
    assert of('x,y\n"0,5","1,25"\n"1,5","3,5"\n').decimal == ","


def test_a_decimal_comma_is_said_and_can_be_denied():
    assert overrides(of("x;y\n0,5;1\n"))["decimal"] == "data.decimal=point"
    denied = of("x;y\n0,5;1\n2,5;2\n", decimal="point")
    assert (denied.decimal, denied.separator) == (".", ";")


# --- the header -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "0.1,0.05,a\n0.6,2.15,b\n1.1,4.25,a\n",
        "5.1,3.5,1.4\n4.9,3.0,1.4\n4.7,3.2,1.3\n",
        "3,?,alfa,gas\n3,?,alfa,gas\n1,164,audi,diesel\n2,164,audi,gas\n",
        "p,x,s\ne,x,s\np,b,y\ne,x,s\n",
        "39,Private,<=50K\n50,State,<=50K\n38,Private,>50K\n",
        "2024-01-01,1\n2024-01-02,2\n",
        "1,2,2,3\n5,1,7,3\n2,6,2,9\n",
    ],
)
def test_a_first_row_that_is_data_is_no_header(text):
    dialect = of(text)
    assert (dialect.lines, dialect.has_header, dialect.names[0]) == (0, False, "c1")
    assert said(dialect)["header"].startswith("none: line 1 is data, the columns are c1, c2")
    assert overrides(dialect)["header"] == "data.header=1"


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n",
        "name,city\nAnn,Rome\nBob,Oslo\n",
        "country,2019,2020,2021\nA,5,6,7\nB,8,9,10\n",
        "k,2021\na,1\nb,2\n",
        ",0,1,2\n0,5.5,6,7\n1,8,9,1\n",
        "id,400.0,400.5,401.0\n1,0.1,0.2,0.3\n2,0.3,0.1,0.2\n",
        "code,y\n01,2\nA3,4\n",
        "x,?\n1,2\n",
        "id\n7\n8\n",
        "kind,a\na,b\nb,c\n",
    ],
)
def test_a_row_of_names_is_a_header(text):
    assert of(text).names[-1] == text.splitlines()[0].split(",")[-1]


def test_numbers_as_names_are_said():
    assert "with numbers as names (2019, 2020)" in said(of("a,2019,2020\nx,5,6\ny,7,8\n"))["header"]


def test_the_header_can_be_denied():
    dialect = of("a,b\n1,2\n3,4\n", header="none")
    assert (dialect.names, dialect.lines, dialect.findings) == (("c1", "c2"), 0, ())


def test_the_line_of_the_header_can_be_chosen():
    dialect = of("1,2\nx,y\na,b\n3,4\n", header=3)
    assert (dialect.names, dialect.lines) == (("a", "b"), 3)
    assert of("1,2\n3,4\n", header=1).names == ("1", "2")


def test_numbers_by_blanks_and_a_text_by_a_tab_are_columns():
    row = '18.0   8   307.0   1\t"a b"\n15.0   9   350.0   1\t"c"\n'
    assert of(row * 3).names == ("c1", "c2", "c3", "c4", "c5")


def test_names_of_rows_without_a_name_above_are_a_column():
    dialect = of('"mpg" "cyl"\n"Mazda RX4" 21 6\n"Datsun" 22.8 4\n"Fiat" 32.4 4\n')
    assert dialect.names == ("", "mpg", "cyl")
    assert "row names" in said(dialect)


# --- above and below the header -------------------------------------------------------------


@pytest.mark.parametrize("sign", ["#", "%", "//", ";"])
def test_comment_lines_above_the_header_are_skipped(sign):
    dialect = of(f'{sign} exported 2024-01-01, by "me\n{sign} again\nx,y\n0,1\n1,2\n')
    assert (dialect.names, dialect.lines) == (("x", "y"), 3)
    assert said(dialect) == {"comments": "2 lines above the table skipped"}
    assert overrides(dialect) == {"comments": "data.comment=none"}


def test_a_comment_may_be_the_header():
    dialect = of("# made by a program\n# x,y\n0,0.5\n1,2.5\n2,3.5\n")
    assert (dialect.names, dialect.lines) == (("x", "y"), 2)
    assert said(dialect)["header"] == "the comment in line 2"


@pytest.mark.parametrize("name", ["#", "#id", "%", "//x"])
def test_a_first_name_may_start_like_a_comment(name):
    assert of(f"{name},a\n1,2\n3,4\n").names == (name, "a")


def test_an_unnamed_column_before_semicolons_is_no_comment():
    assert of(";x;y\n0;1;2\n1;3;4\n").names == ("", "x", "y")


def test_excels_line_names_the_separator():
    dialect = of("sep=|\nx|y\n0|1,5\n")
    assert (dialect.separator, dialect.names, dialect.lines) == ("|", ("x", "y"), 2)
    assert "first line" in said(dialect)


@pytest.mark.parametrize("title", ["Report 2024\n\n", "Report,,\nby me,,\n", '"Sales, all"\n'])
def test_a_title_above_the_header_is_skipped(title):
    dialect = of(f"{title}name,age,x\nAnn,3,1\nBob,4,2\nCid,5,3\n")
    assert dialect.names == ("name", "age", "x")
    assert "above the table skipped" in said(dialect)["preamble"]


def test_titles_above_years_are_skipped():
    text = "Source,World Bank,\n\ncountry,code,1960,1961\nA,x,5,6\nB,y,7,8\nC,z,9,10\n"
    assert of(text).names == ("country", "code", "1960", "1961")


def test_a_header_with_too_few_names_is_no_title():
    assert of("a,b\n1,2,3\n4,5,6\n7,8,9\n").names == ("a", "b")


def test_lines_to_skip_can_be_chosen():
    assert of("a note, with commas\nx,y\n1,2\n", skip_rows=1).names == ("x", "y")
    assert of("sep=;\nx;y\n", skip_rows=0).lines == 1


@pytest.mark.parametrize("units", ["m,kg", "(m),(kg)", "meters,kilograms", "m,"])
def test_a_row_of_units_is_no_data(units):
    dialect = of(lines("x,y", units) + "0,0.5\n1,2.5\n2,5.0\n")
    assert dialect.lines == 2
    assert overrides(dialect) == {"units": "data.units=none"}


@pytest.mark.parametrize("first", ["1,unknown", "?,?", "-,n/a", "unknown,0.5", ","], ids=str)
def test_a_row_with_odd_cells_is_data(first):
    assert of(f"x,y\n{first}\n0,0.5\n1,2.5\n2,5.0\n").lines == 1


def test_a_rule_below_the_header_is_no_data():
    assert of("| a | b |\n|---|:--|\n| x | y |\n| u | v |\n").lines == 2


def test_the_row_of_units_can_be_chosen_or_denied():
    assert of("x,y\nm,kg\n0,1\n1,2\n", units="none").lines == 1
    assert of("x,y\nfoo,1\n0,1\n1,2\n", units="row").lines == 2


# --- encodings ------------------------------------------------------------------------------

# ruff: noqa: RUF001
TEXTS = {
    "gb18030": "姓名,城市,分数\n张三,北京,88.5\n李四,上海,92.1\n王五,广州,77.0\n",
    "cp949": "이름,도시,점수\n김철수,서울,88.5\n이영희,부산,92.1\n박민수,대구,77.0\n",
    "cp932": "名前,都市,点数\n田中太郎,東京,88.5\n鈴木花子,大阪,92.1\nタカハシ,コウベ,3\n",
    "big5": "姓名,年齡,城市\n張三,34,臺北\n李四,28,高雄\n王五,45,臺中\n",
    "cp1251": "имя,город,оценка\nИван,Москва,88.5\nМария,Казань,92.1\nОльга,Томск,5\n",
    "cp1253": "όνομα,ηλικία\nΓιώργος,34\nΜαρία,28\nΕλένη,3\n",
    "cp1252": "Name;Größe;Preis €\nMüller;1,80;10,5\nJosé;1,75;3\nFrançois;1,6;4\n",
    "utf-16-le": "naïve,y\nü,0\né,1\n",
    "utf-16-be": "naïve,y\nü,0\né,1\n",
}


@pytest.mark.parametrize("encoding", TEXTS)
@pytest.mark.parametrize("times", [1, 30])
def test_the_encoding_is_found_and_said(encoding, times):
    header, _, body = TEXTS[encoding].partition("\n")
    dialect = of(f"{header}\n{body * times}".encode(encoding))
    assert dialect.encoding == encoding
    assert dialect.names[0] == header.replace(";", ",").split(",")[0]
    assert overrides(dialect)["encoding"] == "data.encoding=…"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_at_the_start_decides(encoding):
    assert of("ü,y\n1,2\n".encode(encoding)).encoding == encoding


def test_a_character_cut_at_the_end_of_the_sample_is_no_error():
    sample = "ä,y\né,1\nü,2\né".encode()[:-1]
    assert detect(sample, FileSettings(), whole=False).encoding == "utf-8"


def test_bytes_that_could_be_anything_are_refused_with_the_setting():
    with pytest.raises(MlrunError, match=r"line 1: not UTF-8 text; set data\.encoding=, for exam"):
        of(bytes(range(128, 256)) * 4)


def test_line_ends_of_old_macs_are_said():
    assert said(of("x,y\r1,2\r3,4\r"))["line ends"] == "CR, of old Macs"


# --- settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [
        {"encoding": "latin-99"},
        {"encoding": "base64"},
        {"separator": "::"},
        {"decimal": ","},
        {"header": "first"},
        {"header": 0},
        {"skip_rows": -1},
        {"comment": ""},
        {"units": "yes"},
        {"footer": True},
        {"duplicates": "keep"},
    ],
)
def test_a_setting_that_means_nothing_is_refused_with_its_name(setting):
    (name,) = setting
    with pytest.raises(MlrunError, match=rf"data\.{name}=.*: must be "):
        FileSettings(**setting)


# --- properties -----------------------------------------------------------------------------

NAME = st.text(st.characters(categories=["L"]), min_size=2, max_size=8)
NUMBER = st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: f"{x:.3f}")
PLAIN = st.tuples(
    st.integers(2, 5).flatmap(
        lambda width: st.tuples(
            st.lists(NAME, min_size=width, max_size=width, unique=True),
            st.lists(st.lists(NUMBER, min_size=width, max_size=width), min_size=2, max_size=6),
        )
    ),
    st.sampled_from([",", ";", "\t", "|", " "]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)


@shares(fast=100, soak=3_000)
@pytest.mark.slow
def test_tables_of_numbers_are_recognised_in_every_spelling(share):
    def check(drawn: Any) -> None:
        (names, rows), separator, is_comma, has_header, encoding = drawn
        is_comma = is_comma and separator != ","
        body = [[cell.replace(".", ",") if is_comma else cell for cell in row] for row in rows]
        text = "\n".join(separator.join(row) for row in [*([names] if has_header else []), *body])
        dialect = of((text + "\n").encode(encoding))
        assert (dialect.encoding, dialect.separator) == (encoding, separator)
        assert dialect.has_header == has_header
        assert len(dialect.names) == len(names)
        if any(
            len(cell.lstrip("-")) != 5 or cell.lstrip("-")[0] == "0" for r in rows for cell in r
        ):
            assert dialect.decimal == ("," if is_comma else ".")

    share.of(PLAIN, check)


@shares(fast=150, soak=6_000)
def test_any_text_has_a_dialect_or_is_refused(share):
    signs = st.text(st.sampled_from('ab1.,;|\t"\n\r# (é%/='), max_size=60)

    def check(text: str) -> None:
        if refused(lambda: of(text)):
            return
        dialect = of(text)
        assert 1 <= len(dialect.names) <= dialect.width
        assert len(dialect.kinds) == len(dialect.names)

    share.of(signs, check)
