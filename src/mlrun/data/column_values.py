"""The values of a column as numbers or as text; errors name the row and the column."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.rows import let_go
from mlrun.errors import MlrunError


def as_numbers(column: pd.Series, path: Path, *, advice: str = "") -> NDArray[np.float64]:
    """Return the column as (n,) float64, with NaN for missing values.

    Raises:
        MlrunError: a value is not a finite number; the message names its row (first row: 1).
    """
    if column.dtype == np.float64:  # without a copy of a large column
        numbers = column.to_numpy()
    else:
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    if np.isfinite(numbers).all():
        let_go(numbers)
        return numbers
    bad = np.isinf(numbers) | (np.isnan(numbers) & column.notna().to_numpy())
    if bad.any():
        at = int(bad.argmax())
        raise MlrunError(
            f"{position(column, at, path)}: '{column.iloc[at]}' is not a finite number{advice}"
        )
    return numbers


def position(column: pd.Series, at: int, path: Path) -> str:
    """Describe the position of a value in its file; the first row below the header is 1."""
    return f"{path}, row {int(column.index[at]) + 1}, column '{column.name}'"


def looks_numeric(column: pd.Series) -> bool:
    """Whether at least half of the non-missing values are numbers."""
    if pd.api.types.is_numeric_dtype(column):  # bool counts as a number too
        return True
    present = column.dropna()
    return bool(pd.to_numeric(present, errors="coerce").notna().mean() >= 0.5)


def as_text(column: pd.Series) -> NDArray[np.object_]:
    """Return the column as text, with None for missing values; 3, 3.0 and "3" are equal."""

    def text(value: object) -> str | None:
        if pd.isna(value):  # type: ignore[call-overload]
            return None
        if isinstance(value, float | np.floating) and float(value).is_integer():
            return str(int(value))
        words = str(value).strip()
        whole = re.fullmatch(r"(-?\d+)\.0+", words)
        return whole[1] if whole else words

    return np.array([text(value) for value in column], dtype=object)


def first_missing(values: NDArray[np.generic]) -> int | None:
    """Return the index of the first missing value, or None."""
    missing = pd.isna(values)
    return int(missing.argmax()) if missing.any() else None


def by_value(text: str) -> tuple[bool, float, str]:
    """Sort key for levels and classes: numbers by value, then words."""
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text
