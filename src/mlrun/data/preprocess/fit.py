"""Fit the preprocessing of a table on its training rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.categories import codes, levels_of
from mlrun.data.column_values import as_numbers
from mlrun.data.dates import PARTS, date_part
from mlrun.data.findings import Findings
from mlrun.data.number_format import PLAIN
from mlrun.data.preprocess.module import MISSING, UNKNOWN, Contract
from mlrun.data.preprocess.plan import ColumnPlan, MissingValues
from mlrun.data.rows import let_go
from mlrun.errors import MlrunError


def fit_table(
    table: pd.DataFrame,
    rows: NDArray[np.int64],
    plan: ColumnPlan,
    *,
    path: Path,
    encode: str,
    scale: str,
    told: Findings | None = None,
) -> Contract:
    """Fit a contract on the training rows: one entry and one or more features per column.

    Args:
        table: feature columns only.
        rows: the training rows.
        plan: how their cells are read. A missing value is replaced; by `auto`, with the median or
            the commonest category, and a feature indicates the missing values of a column.
        path: the file of the rows, for messages.
        encode: onehot | ordinal.
        scale: standard | minmax | none.
        told: where to add what is decided.

    Raises:
        MlrunError: a numeric column has text, or a value is missing and that is an error.
    """
    missing, told = plan.missing, Findings("") if told is None else told
    columns: list[dict[str, Any]] = []
    features: list[dict[str, Any]] = []
    for name in table.columns:
        cells = table[name].iloc[rows]
        fitted = _fit_column(cells, plan, path=path, encode=encode, scale=scale, told=told)
        for column, own, gaps in fitted:
            index = len(columns)
            columns.append(column)
            features += [feature | {"column": index, "missing": False} for feature in own]
            first = column["date"] is None or column is fitted[0][0]  # once for a date
            if gaps and first and missing.fill == "auto":
                features.append(_indicator(column, index))
        if fitted[0][2]:
            value = f"{fitted[0][2]} of {len(rows)} missing, filled with {_filling(fitted[0][0])}"
            told.add(str(name), value, "data.missing=error")
        let_go(table[name].to_numpy())
    words = {"numbers": list(missing.among_numbers), "texts": list(missing.among_texts)}
    return {
        "input": "table",
        "columns": columns,
        "features": features,
        "unused": [],
        "na_values": words,
        "target_format": None,
    }


def _fit_column(
    cells: pd.Series, plan: ColumnPlan, *, path: Path, encode: str, scale: str, told: Findings
) -> list[tuple[dict[str, Any], list[dict[str, Any]], int]]:
    """Return the columns of the contract, their features, and their numbers of missing values."""
    name, missing = str(cells.name), plan.missing
    if name in plan.categorical:
        return [_fit_category(cells, plan, encode=encode, told=told)]
    form = plan.formats.get(name, PLAIN)
    parts: dict[str | None, NDArray[np.float64]] = {}
    if name in plan.dates:
        dates = cells.to_numpy()
        parts |= {part: date_part(dates, plan.dates[name], part) for part in PARTS}
        varying = {part: v for part, v in parts.items() if len(np.unique(v[~np.isnan(v)])) > 1}
        parts = varying or {"year": parts["year"]}
    else:
        parts[None] = as_numbers(cells, path, form=form, na_values=missing.among_numbers)
    found = []
    for part, values in parts.items():
        label = name if part is None else f"{name}.{part}"
        date = None if part is None else {"format": plan.dates[name], "part": part}
        column, own = _fit_number(values.reshape(-1, 1), label, path, scale=scale, missing=missing)
        column |= {"name": name, "date": date, "knows_unknown": False}
        column["format"] = form.as_plain() if part is None else None
        found.append((column, own, int(np.isnan(values).sum())))
    return found


def _filling(column: Mapping[str, Any]) -> str:
    """Describe what stands for a missing value."""
    fill, levels = column["fill"], column["categories"]
    if levels is None:
        return f"{fill:.6g}"
    return f"'{levels[int(fill)]}'" if fill < len(levels) else UNKNOWN


def _indicator(column: Mapping[str, Any], index: int) -> dict[str, Any]:
    name = column["name"]
    plain = {"level": None, "center": 0.0, "scale": 1.0}
    return plain | {"name": f"{name}={MISSING}", "column": index, "missing": True}


def _fit_category(
    column: pd.Series, plan: ColumnPlan, *, encode: str, told: Findings
) -> tuple[dict[str, Any], list[dict[str, Any]], int]:
    """Return the column, its features, and its number of missing values."""
    name, missing = str(column.name), plan.missing
    levels = _frequent(column, plan, told)
    numbers = codes(column, levels, missing.among_texts)
    absent = np.isnan(numbers)
    fill = float(len(levels)) if missing.allowed else None
    if missing.fill == "auto" and not absent.all():
        fill = float(np.bincount(numbers[~absent].astype(np.int64)).argmax())
    filled = np.where(absent, fill or 0.0, numbers)
    found = {"name": name, "categories": levels, "fill": fill, "format": None, "date": None}
    found["knows_unknown"] = bool((filled == len(levels)).any())
    return found, _category_features(name, levels, encode), int(absent.sum())


def _frequent(column: pd.Series, plan: ColumnPlan, told: Findings) -> list[str]:
    """Return the levels that are in enough rows."""
    words = plan.missing.among_texts
    levels = levels_of(column, words)
    if plan.min_frequency <= 1:
        return levels
    numbers = codes(column, levels, words)
    rows = np.bincount(numbers[~np.isnan(numbers)].astype(np.int64), minlength=len(levels))
    enough = rows >= plan.min_frequency
    if not enough.all():
        rare = f"{np.sum(~enough)} of {len(levels)} categories, in fewer than {plan.min_frequency}"
        told.add(str(column.name), f"{rare} training rows, are {UNKNOWN}", "data.min_frequency=1")
    return [level for level, keep in zip(levels, enough, strict=True) if keep]


def _category_features(name: str, levels: list[str], encode: str) -> list[dict[str, Any]]:
    plain = {"center": 0.0, "scale": 1.0}
    if encode == "ordinal":
        return [plain | {"name": name, "level": None, "scale": float(max(len(levels), 1))}]
    return [
        plain | {"name": f"{name}={level}", "level": float(number)}
        for number, level in enumerate([*levels, UNKNOWN])
    ]


def _fit_number(
    values: NDArray[np.float64], name: str, path: Path, *, scale: str, missing: MissingValues
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    with np.errstate(all="ignore"):
        fill = _fill_value(values, name, missing.fill)
        center, spread = _center_and_scale(np.nan_to_num(values, nan=fill or 0.0), scale)
        largest = np.nanmax(np.abs((values - center) / spread), initial=0.0)
    if not (
        np.isfinite([center, spread, fill or 0.0]).all() and largest < np.finfo(np.float32).max
    ):
        raise MlrunError(f"{path}: column '{name}' has numbers that are too large for float32")
    feature = {"name": name, "level": None, "center": center, "scale": spread}
    return {"name": name, "categories": None, "fill": fill}, [feature]


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
