"""How the cells of a table are read, and a check that they can be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.column_values import as_numbers, first_missing, position
from mlrun.data.number_format import MISSING_WORDS, PLAIN, NumberFormat, missing_among
from mlrun.errors import MlrunError


@dataclass(frozen=True)
class MissingValues:
    """What is a missing value, and what happens to it."""

    fill: str | float = "error"  # auto | error | mean | median | a number
    among_numbers: Sequence[str] = MISSING_WORDS  # words, lower case
    among_texts: Sequence[str] = ()

    @property
    def allowed(self) -> bool:
        """Whether a table may have missing values."""
        return self.fill != "error"


@dataclass(frozen=True)
class ColumnPlan:
    """How the cells of each column are read."""

    categorical: Sequence[str] = ()  # the columns with categories
    formats: Mapping[str, NumberFormat] = field(default_factory=dict)  # others spell plainly
    dates: Mapping[str, str] = field(default_factory=dict)  # column of dates → their format
    missing: MissingValues = field(default_factory=MissingValues)
    min_frequency: int = 1  # categories in fewer training rows are in the unknown bucket


def check_table(table: pd.DataFrame, plan: ColumnPlan, *, path: Path) -> None:
    """Check for text among numbers, and for missing values if they are errors.

    Raises:
        MlrunError: naming the first such value.
    """
    missing = plan.missing
    for name in table.columns:
        column = table[name]
        if name in plan.categorical or name in plan.dates:
            words = missing.among_texts if name in plan.categorical else missing.among_numbers
            absent = missing_among(column.to_numpy(object), words)
            values = np.where(absent, np.nan, 0.0)
        else:
            form = plan.formats.get(name, PLAIN)
            words, advice = missing.among_numbers, _advice(name)
            values = as_numbers(column, path, form=form, na_values=words, advice=advice)
        refuse_missing(values, column, path, allowed=missing.allowed)


def _advice(name: str) -> str:
    return (
        f"; if the column is categorical, set data.categorical=['{name}']; if this means a missing "
        "value, add it to data.na_values"
    )


def refuse_missing(
    values: NDArray[np.float64], column: pd.Series, path: Path, *, allowed: bool
) -> None:
    """Refuse missing values of a column, unless they are allowed.

    Raises:
        MlrunError: with the first one.
    """
    at = first_missing(values)
    if at is not None and not allowed:
        count = int(np.isnan(values).sum())
        more = f" (and {count - 1} more in this column)" if count > 1 else ""
        raise MlrunError(
            f"{position(column, at, path)}: the value is missing{more}; fill it in, or train with "
            "data.missing=auto (or mean, median, a number)"
        )
