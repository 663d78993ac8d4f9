"""What the cells of a column are taken for: numbers, texts or dates."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from mlrun.data.dates import date_format
from mlrun.data.number_format import PLAIN, NumberFormat, detect, missing_among

Kind = Literal["numbers", "texts", "dates", "empty"]
FEW_WORDS = 0.05  # a smaller share of words among numbers is taken for mistakes, and reported


@dataclass(frozen=True)
class Reading:
    """How the cells of a column are read."""

    kind: Kind
    form: NumberFormat = PLAIN
    gaps: tuple[tuple[str, int], ...] = ()  # word for a missing value → number of cells
    dates: str | None = None  # the format of dates
    decimal: str = "."  # of the file

    @property
    def words(self) -> str:
        """Describe what is not plain, for people; empty if everything is."""
        plain = self.form in (PLAIN, NumberFormat(self.decimal))
        parts = [] if plain else [self.form.words]
        parts += [] if self.dates is None else [f"their format is {self.dates}"]
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
    if np.isfinite(PLAIN.parse(column.to_numpy(object))).all():
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
    if 2 * words <= present and words <= max(1, FEW_WORDS * present):
        return Reading("numbers", form, gaps, decimal=decimal)
    found = date_format(texts)
    return Reading("texts") if found is None else Reading("dates", gaps=gaps, dates=found)
