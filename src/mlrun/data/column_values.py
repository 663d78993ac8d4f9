"""The values of a column as numbers or as text; errors name the row and the column.

The columns of a table are texts as the file spells them (missing: an empty cell), or numbers and
booleans where the file format or the caller has types.
"""

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.categories import text_of
from mlrun.data.number_format import (
    MISSING_WORDS,
    PLAIN,
    NumberFormat,
    missing_among,
    without_missing,
)
from mlrun.data.rows import let_go
from mlrun.errors import MlrunError


def as_numbers(
    column: pd.Series,
    path: Path,
    *,
    form: NumberFormat = PLAIN,
    na_values: Collection[str] = MISSING_WORDS,
    advice: str = "",
) -> NDArray[np.float64]:
    """Return the column as (n,) float64, with NaN for missing values.

    Args:
        column: texts, or numbers.
        path: its file, for messages.
        form: how its texts spell numbers.
        na_values: words that mean a missing value, lower case.
        advice: the end of the message.

    Raises:
        MlrunError: a value is not a finite number; the message names its row (first row: 1).
    """
    typed = pd.api.types.is_numeric_dtype(column)
    if column.dtype == np.float64:  # without a copy of a large column
        numbers = column.to_numpy()
    elif typed:
        numbers = column.to_numpy(np.float64, na_value=np.nan)
    else:
        numbers = form.parse(column.to_numpy(object))
    numbers = without_missing(numbers, na_values)
    if np.isfinite(numbers).all():
        let_go(numbers)
        return numbers
    missing = np.isnan(numbers) if typed else _missing(column, form, numbers, na_values)
    bad = ~np.isfinite(numbers) & ~missing
    if bad.any():
        at = int(bad.argmax())
        like = "" if form == PLAIN else f" as in training ({form.words})"
        what = f"{str(column.iloc[at])!r} is not a finite number{like}"
        first = column.index[at] == 0 and len(column) > 1
        hint = "; if row 1 is no data: data.units=row" if first else ""
        raise MlrunError(f"{position(column, at, path)}: {what}{advice}{hint}")
    return numbers if typed else np.where(missing, np.nan, numbers)


def _missing(
    column: pd.Series, form: NumberFormat, numbers: NDArray[np.float64], words: Collection[str]
) -> NDArray[np.bool_]:
    """Return (n,) whether a text is a word for a missing value, or a number that means one."""
    texts = column.to_numpy(object)
    coded = np.isnan(numbers) & np.isfinite(form.parse(texts))
    return missing_among(texts, words) | coded


def position(column: pd.Series, at: int, path: Path) -> str:
    """Describe the position of a value in its file; the first row below the header is 1."""
    return f"{path}, row {int(column.index[at]) + 1}, column '{column.name}'"


def as_text(column: pd.Series, na_values: Collection[str] = ()) -> NDArray[np.object_]:
    """Return the column as text, with None for missing values; 3, 3.0 and "3" are equal.

    Args:
        column: texts, numbers or booleans.
        na_values: words that mean a missing value, lower case, besides the empty cell.
    """
    return np.array([text_of(value, na_values) for value in column], dtype=object)


def first_missing(values: NDArray[np.generic]) -> int | None:
    """Return the index of the first missing value, or None."""
    missing = pd.isna(values)
    return int(missing.argmax()) if missing.any() else None
