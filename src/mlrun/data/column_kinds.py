"""What the cells of a column are taken for: numbers, texts or dates."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.cells import shortened
from mlrun.data.dates import date_format, digits_format, nearly_dates, other_order
from mlrun.data.number_format import (
    PLAIN,
    NumberFormat,
    currencies_among,
    detect,
    missing_among,
    without_missing,
)

Kind = Literal["numbers", "texts", "dates", "empty"]
FEW_WORDS = 0.05  # a smaller share of words among numbers is taken for mistakes, and reported


@dataclass(frozen=True)
class Others:
    """The cells that keep a column from being one of numbers or dates."""

    kind: str  # numbers | dates
    cells: int
    present: int  # cells of the column that are not empty
    words: tuple[str, ...]  # the distinct ones, the commonest first

    @property
    def text(self) -> str:
        """Describe them for people."""
        listed = ", ".join(repr(shortened(word)) for word in self.words[:3])
        more = " …" if self.words[3:] else ""
        simple = not more and all(re.fullmatch(r"[\w.#*-]+", word) for word in self.words)
        setting = f"; data.na_values=[{','.join(self.words)}] makes them missing values"
        what = f"{self.cells} of {self.present} cells are not {self.kind} as the others are"
        return f"{what} ({listed}{more}){setting if simple else ''}"


@dataclass(frozen=True)
class Reading:
    """How the cells of a column are read."""

    kind: Kind
    form: NumberFormat = PLAIN
    gaps: tuple[tuple[str, int], ...] = ()  # word for a missing value → number of cells
    dates: str | None = None  # the format of dates
    decimal: str = "."  # of the file
    other_order: str | None = None  # the format that exchanges day and month, if it fits, too
    note: str = ""  # a doubt, for people
    others: Others | None = None  # of texts that are numbers or dates for the most part

    @property
    def words(self) -> str:
        """Describe what is not plain, for people; empty if everything is."""
        plain = self.form in (PLAIN, NumberFormat(self.decimal))
        parts = [] if plain else [self.form.words]
        parts += [] if self.dates is None else [f"their format is {self.dates}"]
        parts += [] if self.other_order is None else [f"{self.other_order} fits, too"]
        parts += [self.note] if self.note else []
        parts += [f"{word!r} is missing ({count})" for word, count in self.gaps]
        return "; ".join(parts)


def reading_of(column: pd.Series, *, decimal: str, na_values: Collection[str]) -> Reading:
    """Decide how to read a column.

    Args:
        column: texts, numbers or booleans.
        decimal: the decimal separator of the file.
        na_values: words that mean a missing value among numbers, lower case.
    """
    if column.isna().all():
        return Reading("empty")
    if pd.api.types.is_numeric_dtype(column):  # booleans are numbers, too
        return Reading("numbers", NumberFormat(decimal), decimal=decimal)
    pointed = decimal == "," and column.str.contains(".", regex=False).any()  # 1.234 is 1234
    if not pointed and np.isfinite(PLAIN.parse(column.to_numpy(object))).all():
        return Reading("numbers")
    counts = column.value_counts(dropna=True)
    texts, rows = counts.index.to_numpy(object), counts.to_numpy()
    missing = missing_among(texts, na_values)
    gaps = tuple(
        (str(text), int(count)) for text, count in zip(texts[missing], rows[missing], strict=True)
    )
    texts, rows = texts[~missing], rows[~missing]
    if not len(texts):
        return Reading("empty", gaps=gaps)
    form, _ = detect(texts, decimal=decimal)
    numbers = np.isfinite(form.parse(texts))
    words, present = int(rows[~numbers].sum()), int(rows.sum())
    few = 0 if form.unit else max(1, FEW_WORDS * present)  # 1 year is no mistake among years
    if 2 * words <= present and words <= few:
        note = _currencies(texts, form)
        return Reading("numbers", form, gaps, note=note, decimal=decimal)
    found = date_format(texts)
    if found is None:
        return Reading("texts", others=_others(texts, rows, numbers))
    return Reading("dates", gaps=gaps, dates=found, other_order=other_order(texts, found))


def _currencies(texts: NDArray[np.object_], form: NumberFormat) -> str:
    """Return a note if the numbers have different currencies."""
    found = currencies_among(texts) if form.symbols == "currency" else []
    return f"different currencies ({', '.join(found)}) are not converted" if found[1:] else ""


def _others(
    texts: NDArray[np.object_], rows: NDArray[Any], numbers: NDArray[np.bool_]
) -> Others | None:
    """Return the cells that are no numbers, or no dates, if half of the cells or texts are."""
    for kind, known in (("numbers", numbers), ("dates", nearly_dates(texts))):
        if 2 * int(rows[known].sum()) >= int(rows.sum()) or 2 * int(known.sum()) >= len(known):
            words = tuple(str(text) for text in texts[~known])
            return Others(kind, int(rows[~known].sum()), int(rows.sum()), words)
    return None


def feature_reading(column: pd.Series, *, decimal: str, na_values: Collection[str]) -> Reading:
    """Decide how to read a feature: as `reading_of`, but numbers like 20240131 are dates."""
    reading = reading_of(column, decimal=decimal, na_values=na_values)
    if reading.kind != "numbers" or reading.form not in (PLAIN, NumberFormat(",")):
        return reading
    typed = pd.api.types.is_numeric_dtype(column)
    cells = column.to_numpy(np.float64 if typed else object, na_value=np.nan)
    found = digits_format(without_missing(cells if typed else PLAIN.parse(cells), na_values))
    return reading if found is None else Reading("dates", gaps=reading.gaps, dates=found)
