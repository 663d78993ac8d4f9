"""What every reader of a table file returns: cells as text; and the settings that they share."""

import codecs
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.findings import Finding
from mlrun.errors import MlrunError, did_you_mean

AUTO, NONE = "auto", "none"
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "blanks": " "}


@dataclass(frozen=True)
class FileSettings:
    """How to read a file; "auto" decides by its content.

    Raises:
        MlrunError: a setting has an invalid value.
    """

    encoding: str = AUTO
    separator: str = AUTO  # one character, or a key of SEPARATORS
    decimal: str = AUTO  # point | comma
    header: str | int = AUTO  # none, or the number of its line
    comment: str = AUTO  # none, or the text at the start of comment lines
    skip_rows: str | int = AUTO  # number of lines to skip at the top
    units: str = AUTO  # none, or row: the first row below the header is not data
    footer: str | int = AUTO  # none, or the number of rows to leave out at the end
    duplicates: str = "error"  # two columns of one name: error | number
    sheet: str | int = AUTO  # of a spreadsheet: its name or its number, the first is 1

    def __post_init__(self) -> None:
        _one_of("decimal", self.decimal, (AUTO, "point", "comma"))
        _one_of("units", self.units, (AUTO, NONE, "row"))
        _one_of("duplicates", self.duplicates, ("error", "number"))
        _number_or("header", self.header, (AUTO, NONE), at_least=1)
        _number_or("skip_rows", self.skip_rows, (AUTO,), at_least=0)
        _number_or("footer", self.footer, (AUTO, NONE), at_least=0)
        if self.separator != AUTO and len(self.separator_character) != 1:
            known = ", ".join(key for key in SEPARATORS if key.isalpha())
            _refuse("separator", self.separator, f"one character, {known} or auto")
        if not self.comment or '"' in self.comment:
            _refuse("comment", self.comment, "none, auto or the text that starts a comment")
        if self.encoding != AUTO:
            _check_encoding(self.encoding)

    @property
    def separator_character(self) -> str:
        """The separator as a character; a blank stands for runs of blanks."""
        return SEPARATORS.get(self.separator, self.separator)


def _one_of(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        _refuse(name, value, f"{' or '.join(choices)}.{did_you_mean(str(value), choices)}")


def _number_or(name: str, value: object, words: tuple[str, ...], *, at_least: int) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= at_least
    if not whole and value not in words:
        _refuse(name, value, f"{' or '.join(words)} or a whole number from {at_least}")


def _check_encoding(name: str) -> None:
    try:
        is_text = codecs.lookup(name)._is_text_encoding
    except (LookupError, ValueError):
        is_text = False
    if not is_text:
        _refuse("encoding", name, "auto or a known one, for example utf-8, cp1252, gbk, cp949")


def _refuse(name: str, value: object, wanted: str) -> None:
    raise MlrunError(f"data.{name}={value}: must be {wanted}")


@dataclass(frozen=True)
class FileSpelling:
    """What a new file has in common with the training file."""

    decimal: str = "."
    has_header: bool = True


@dataclass(frozen=True)
class Cells:
    """A table of texts, or consecutive rows of one.

    Args:
        table: one column of texts per name, without blanks around; NaN where a field is empty.
        rows: (n,) the number of each row in its file; the first row below the header is 1, blank
            lines do not count.
        findings: what was decided about the file; of several pieces, the last one has all.
        decimal: the decimal separator of its numbers.
        has_header: whether the file names its columns.
        typed: the columns that the file stores as numbers, not as texts.
    """

    table: pd.DataFrame
    rows: NDArray[np.int64]
    findings: tuple[Finding, ...] = ()
    decimal: str = "."
    has_header: bool = True
    typed: frozenset[str] = frozenset()

    @property
    def names(self) -> list[str]:
        """The column names in the order of the file."""
        return [str(name) for name in self.table.columns]


@dataclass
class Progress:
    """What is known only after all rows are read."""

    rows: int = 0  # so far, with the empty ones
    empty_rows: int = 0
    comments: int = 0
    headers: int = 0  # repeated among the rows
    footer: list[str] = field(default_factory=list)

    def findings(self) -> tuple[Finding, ...]:
        """Return the decisions so far."""
        found = []
        if self.empty_rows:
            found.append(Finding("empty rows", f"{counted(self.empty_rows, 'row')} skipped"))
        if self.comments:
            value = f"{counted(self.comments, 'line')} between the rows skipped"
            found.append(Finding("comments", value, "data.comment=none"))
        if self.headers:
            value = f"{counted(self.headers, 'row')} among the rows skipped"
            found.append(Finding("repeated header", value))
        if self.footer:
            text = shortened(self.footer[0])
            value = f"{counted(len(self.footer), 'row')} below the table not read ('{text}')"
            found.append(Finding("footer", value, "data.footer=none"))
        return tuple(found)


def counted(number: int, noun: str) -> str:
    """Return e.g. '1 row' or '2 rows'."""
    return f"{number:,} {noun}{'s' if number != 1 else ''}"


def shortened(text: Any, most: int = 30) -> str:
    """Return the text, cut if it is long."""
    words = str(text)
    return words if len(words) <= most else words[: most - 1] + "…"
