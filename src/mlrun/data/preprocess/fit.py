"""Fit the preprocessing of a table on its training rows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.column_values import as_numbers, as_text, by_value, first_missing, position
from mlrun.data.preprocess.module import UNKNOWN, Contract
from mlrun.data.rows import let_go
from mlrun.errors import MlrunError


def fit_table(
    table: pd.DataFrame,
    rows: NDArray[np.int64],
    *,
    path: Path,
    categorical: Sequence[str],
    encode: str,
    scale: str,
    missing: str | float,
) -> Contract:
    """Fit a contract on the training rows: one entry and one or more features per column.

    Args:
        table: feature columns only.
        rows: the training rows.
        path: the file of the rows, for messages.
        categorical: the columns with categories.
        encode: onehot | ordinal.
        scale: standard | minmax | none.
        missing: error | mean | median | a number to fill in.

    Raises:
        MlrunError: a numeric column has text, or a value is missing and that is an error.
    """
    columns: list[dict[str, Any]] = []
    features: list[dict[str, Any]] = []
    for index, name in enumerate(table.columns):
        column_of_rows = table[name].iloc[rows]
        if name in categorical:
            levels = sorted(set(as_text(column_of_rows)) - {None}, key=by_value)
            fill = None if missing == "error" else float(len(levels))
            columns.append({"name": name, "categories": levels, "fill": fill})
            features += _category_features(index, name, levels, encode)
        else:
            column, feature = _fit_number(column_of_rows, path, scale=scale, missing=missing)
            columns.append(column)
            features.append({"name": name, "column": index, "level": None} | feature)
        let_go(table[name].to_numpy())
    return {"input": "table", "columns": columns, "features": features, "unused": []}


def _category_features(
    index: int, name: str, levels: list[str], encode: str
) -> list[dict[str, Any]]:
    plain = {"column": index, "center": 0.0, "scale": 1.0}
    if encode == "ordinal":
        return [plain | {"name": name, "level": None, "scale": float(max(len(levels), 1))}]
    return [
        plain | {"name": f"{name}={level}", "level": float(number)}
        for number, level in enumerate([*levels, UNKNOWN])
    ]


def _fit_number(
    column: pd.Series, path: Path, *, scale: str, missing: str | float
) -> tuple[dict[str, Any], dict[str, float]]:
    values = as_numbers(column, path).reshape(-1, 1)
    with np.errstate(all="ignore"):
        fill = _fill_value(values, str(column.name), missing)
        center, spread = _center_and_scale(np.nan_to_num(values, nan=fill or 0.0), scale)
        largest = np.nanmax(np.abs((values - center) / spread), initial=0.0)
    if not (
        np.isfinite([center, spread, fill or 0.0]).all() and largest < np.finfo(np.float32).max
    ):
        raise MlrunError(
            f"{path}: column '{column.name}' has numbers that are too large for float32"
        )
    return (
        {"name": str(column.name), "categories": None, "fill": fill},
        {"center": center, "scale": spread},
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
            "data.missing=mean (or median, or a number; missing texts become a separate category)"
        )


def _fill_value(values: NDArray[np.float64], name: str, missing: str | float) -> float | None:
    if missing == "error":
        return None
    if isinstance(missing, int | float):
        return float(missing)
    if np.isnan(values).all():
        raise MlrunError(f"column '{name}' is empty in every training row; set data.drop=[{name}]")
    return float(np.nanmean(values) if missing == "mean" else np.nanmedian(values))


def _center_and_scale(values: NDArray[np.float64], scale: str) -> tuple[float, float]:
    """Compute the same as scikit-learn's scalers, whose import takes longer than a small run."""
    if scale == "none":
        return 0.0, 1.0
    if scale == "minmax":
        return float(values.min()), float(np.ptp(values)) or 1.0
    center, count = values.mean(), len(values)
    deviations = values - center
    variance = (np.square(deviations).sum() - deviations.sum() ** 2 / count) / count
    rounding = count * np.finfo(np.float64).eps  # upper bound for the variance of a constant column
    constant = variance <= rounding * variance + (rounding * center) ** 2
    return float(center), 1.0 if constant else float(np.sqrt(variance))


def check_table(
    table: pd.DataFrame, *, path: Path, categorical: Sequence[str], missing: str | float
) -> None:
    """Check for text among numbers, and for missing values if they are errors.

    Raises:
        MlrunError: naming the first such value.
    """
    allowed = missing != "error"
    for name in table.columns:
        if name in categorical:
            codes = np.where(pd.isna(table[name]), np.nan, 0.0)
            refuse_missing(codes, table[name], path, allowed=allowed)
        else:
            values = as_numbers(table[name], path, advice=_category_advice(name))
            refuse_missing(values, table[name], path, allowed=allowed)


def _category_advice(name: str) -> str:
    return f"; if the column is categorical, set data.categorical=['{name}']"
