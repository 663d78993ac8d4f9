"""Strategies: small tables as people write them, with what their cells mean."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from hypothesis import strategies as st

WORDS = (
    *("red", "Blue ", "07", "7", "2.0", "2", "TRUE", "true", "NA", "None", "x,y", 'a "b"', "ß"),
    *("#1", "//x", "a\nb", "=1+1", "---", "Total", "1e3", "1_000", "0x1F", "-", ";", "|", "'q'"),
)
NAMES = (
    *("c1", "Fläche", "a b", "x,y", 'q"u', "2021", "true", "prediction", "model/rows", "y.1"),
    *("Name: z", "unit", "#n", "features", "probability_no", "a=b", "{k}", "T [K]"),
)
GAPS = ("", "n/a", "?", "-")  # missing, among numbers
CODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252")
LABELS = (
    ("007", "010", "100"),
    ("None", "Low", "High"),
    ("yes", "no"),
    ("TRUE", "FALSE"),
    ("0", "1"),
    ("1.10", "1.1"),
    ("NA", "DE", "nan"),
    ("-", "+"),
    ("01", "1", "x"),
    ("2021-01-01", "2022-01-01"),
    ("=1+1", 'a,"b"', "ß;"),
    ("1", "2", "10"),
    ("<5", "5-10", ">10"),
    ("inf", "-inf", "0"),
)
Cells = list[str]


@dataclass(frozen=True)
class Layout:
    """How a file is written."""

    encoding: str = "utf-8"
    separator: str = ","
    line_end: str = "\n"
    quoting: int = csv.QUOTE_MINIMAL

    def write(self, path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write the file."""
        text = io.StringIO()
        writer = csv.writer(
            text,
            delimiter=self.separator,
            lineterminator=self.line_end,
            quoting=self.quoting,  # type: ignore[arg-type]
        )
        writer.writerows([header, *rows])
        path.write_bytes(text.getvalue().encode(self.encoding))


PLAIN = Layout()


@dataclass(frozen=True)
class Table:
    """A drawn table; `truth` has the meaning of its last column, None where it is missing."""

    columns: dict[str, Cells]
    target: str
    truth: list[float | str | None]

    @property
    def header(self) -> list[str]:
        """The names of the columns."""
        return [*self.columns]

    @property
    def has_classes(self) -> bool:
        """Whether the target has labels."""
        return any(isinstance(value, str) for value in self.truth)

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The rows as texts."""
        return [*zip(*self.columns.values(), strict=True)]

    def turned(self) -> "Table":
        """Return the columns in the opposite order."""
        return Table(dict(reversed(self.columns.items())), self.target, self.truth)


def _grouped(value: float, digits: int, decimal: str, separator: str) -> str:
    return f"{value:,.{digits}f}".translate(str.maketrans(",.", separator + decimal))


def _spellings(decimal: str) -> list[Callable[[float], str]]:
    """Ways to write a number of two decimals without a doubt about its value."""
    other = {".": ",", ",": "."}[decimal]
    return [
        lambda value: f"{value:.2f}".replace(".", decimal),
        lambda value: _grouped(value, 2, decimal, other),
        lambda value: _grouped(value, 2, decimal, " "),
        lambda value: f"{'-' * (value < 0)}${_grouped(abs(value), 2, decimal, other)}",
        lambda value: f"{_grouped(value, 2, decimal, other)} €",
        lambda value: f"{value:.2f} %".replace(".", decimal),
    ]


def _cells(cell: st.SearchStrategy[str], count: int) -> st.SearchStrategy[Cells]:
    return st.lists(cell, min_size=count, max_size=count)


def _some_missing(column: Cells, gaps: Sequence[str]) -> st.SearchStrategy[Cells]:
    return _cells(st.sampled_from([*column, *gaps]), len(column))


def numbers(count: int, decimal: str) -> st.SearchStrategy[Cells]:
    """A column of numbers in one spelling."""
    values = st.lists(st.integers(-(10**8), 10**8), min_size=count, max_size=count)
    return st.builds(
        lambda spell, cents: [spell(cent / 100) for cent in cents],
        st.sampled_from(_spellings(decimal)),
        values,
    )


def columns(count: int, decimal: str = ".") -> st.SearchStrategy[Cells]:
    """A column of features of any kind."""
    days = st.dates(date(2000, 1, 1), date(2029, 12, 31))
    return st.one_of(
        numbers(count, decimal),
        numbers(count, decimal).flatmap(lambda column: _some_missing(column, GAPS)),
        _cells(st.integers(-5, 5).map(str), count),
        _cells(st.sampled_from(("1e5", "-2.5E-3", "+7", "9007199254740993", "5.", "0")), count),
        st.sampled_from(("3", "x", "0.5", "")).map(lambda cell: [cell] * count),
        _cells(st.sampled_from(WORDS), count),
        _cells(st.sampled_from((*WORDS, "")), count),
        _cells(st.sampled_from(("TRUE", "FALSE", "")), count),
        _cells(st.sampled_from(("yes", "No")), count),
        _cells(days.map(date.isoformat), count),
        _cells(days.map(lambda day: day.strftime("%d.%m.%Y")) | st.just(""), count),
    )


@st.composite
def _quantities(draw: st.DrawFn, count: int, decimal: str) -> tuple[Cells, list[float | None]]:
    offset, spread = draw(st.sampled_from(((0, 10**4), (0, 10**8), (1_600_000_000_00, 10**5))))
    values = [
        cent / 100
        for cent in draw(
            st.lists(
                st.integers(offset - spread, offset + spread),
                min_size=count,
                max_size=count,
                unique=True,
            )
        )
    ]
    spell = draw(st.sampled_from(_spellings(decimal)))
    gaps = draw(st.sets(st.integers(0, count - 1), max_size=3))
    word = draw(st.sampled_from(GAPS))
    return (
        [word if row in gaps else spell(value) for row, value in enumerate(values)],
        [None if row in gaps else value for row, value in enumerate(values)],
    )


@st.composite
def _classes(draw: st.DrawFn, count: int) -> tuple[Cells, list[str | None]]:
    labels = draw(st.sampled_from(LABELS))
    picked = [*labels, *labels, *draw(_cells(st.sampled_from(labels), count - 2 * len(labels)))]
    cells = draw(st.permutations(picked))
    gaps = draw(st.sets(st.integers(0, count - 1), max_size=2) | st.just(set()))
    return (
        ["" if row in gaps else label for row, label in enumerate(cells)],
        [None if row in gaps else label for row, label in enumerate(cells)],
    )


@st.composite
def tables(draw: st.DrawFn, decimal: str = ".") -> Table:
    """Up to four columns of features, perhaps an id, and a target."""
    count = draw(st.sampled_from((12, 24, 25, 40)))
    found = {"size": draw(numbers(count, decimal))}
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True)):
        found[name] = draw(columns(count, decimal))
    if draw(st.booleans()):
        spell = draw(st.sampled_from(("{:03d}", "{}", "K-{:02d}", "9007199254740{:03d}")))
        found["PassengerId"] = [spell.format(row + 5) for row in range(count)]
    cells, truth = draw(st.one_of(_quantities(count, decimal), _classes(count)))
    names = draw(st.permutations([*found, "y"]))
    return Table({name: found.get(name, cells) for name in names}, "y", [*truth])


@st.composite
def layouts(draw: st.DrawFn, decimal: str = ".") -> Layout:
    """A way to write a file."""
    return Layout(
        draw(st.sampled_from(CODINGS)),
        draw(st.sampled_from((";", "\t") if decimal == "," else (",", ",", ";", "\t", "|"))),
        draw(st.sampled_from(("\n", "\r\n"))),
        draw(st.sampled_from((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))),
    )
