"""Preprocessing: fitted on the training rows, then stored as plain numbers.

The result of fitting is a *contract*, a dict of plain JSON values: the columns that a file must
have, the replacements for missing values, and how each feature is computed from a column. It
rebuilds the `nn.Module` that turns raw rows into features, so no pickle is needed.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlrun.config.signature import from_plain
from mlrun.data.csv_file import as_numbers, as_text, first_missing, place
from mlrun.data.rows import Columns, let_go
from mlrun.errors import MlrunError, did_you_mean

log = logging.getLogger(__name__)

MOST_IN_MEMORY = 2**24  # numbers in a table; columns of a larger one are not copied into one array
UNKNOWN = "(unknown)"  # the bucket for categories unknown to training
Contract = dict[str, Any]


class TablePreprocess(nn.Module):
    """Turns raw rows (n, columns) float64 into features (n, features) float32.

    A feature is either a scaled number, `(column - center) / scale`, or the indicator of one
    level of a categorical column. Inputs encode a category as its index in the contract's list.
    """

    source: Tensor
    level: Tensor
    center: Tensor
    scale: Tensor
    fill: Tensor

    def __init__(self, columns: Sequence[Mapping[str, Any]], features: Sequence[Mapping[str, Any]]):
        super().__init__()
        nan = float("nan")
        fill = [nan if c["fill"] is None else c["fill"] for c in columns]
        level = [nan if f["level"] is None else f["level"] for f in features]
        self.only_numbers = all(f["level"] is None for f in features)
        self.register_buffer("source", torch.tensor([f["column"] for f in features]))
        self.register_buffer("level", torch.tensor(level, dtype=torch.float64))
        self.register_buffer("center", _doubles(f["center"] for f in features))
        self.register_buffer("scale", _doubles(f["scale"] for f in features))
        self.register_buffer("fill", torch.tensor(fill, dtype=torch.float64))

    def forward(self, rows: Tensor) -> Tensor:
        """Compute (n, columns) → (n, features)."""
        filled = torch.where(rows.isnan(), self.fill, rows)[:, self.source]
        scaled = (filled - self.center) / self.scale
        if self.only_numbers:
            return scaled.float()
        return torch.where(self.level.isnan(), scaled, (filled == self.level).double()).float()


class ImagePreprocess(nn.Module):
    """Turns bytes (n, channels, height, width) into standardised float32 images."""

    def __init__(self, mean: float, std: float):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, images: Tensor) -> Tensor:
        """Compute (level / 255 - mean) / std for grey levels 0..255."""
        return (images.float() / 255 - self.mean) / self.std


@dataclass(frozen=True)
class Grey:
    """The contract for images: the same standardisation for all pixels."""

    input: str
    mean: float
    std: float


@dataclass(frozen=True)
class Column:
    """An entry of a contract: a column that a file must have."""

    name: str
    categories: tuple[str, ...] | None  # None: a numeric column
    fill: float | None  # replacement for a missing value; None: a missing value is an error


@dataclass(frozen=True)
class Feature:
    """An entry of a contract: a feature computed from a column."""

    name: str
    column: int
    level: float | None  # the index of the category it indicates; None: a scaled number
    center: float
    scale: float


def build_preprocess(contract: Contract) -> nn.Module:
    """Build the module that a contract describes.

    Raises:
        MlrunError: the contract is damaged.
    """
    source = "the preprocessing contract"
    if not isinstance(contract, Mapping):
        raise MlrunError(f"{source} is damaged")
    if contract.get("input") == "images":
        fitted = from_plain(Grey, {**contract}, source=source)
        return ImagePreprocess(fitted.mean, fitted.std)
    lists = [contract.get(key) for key in ("columns", "features", "unused")]
    if contract.get("input") != "table" or not all(isinstance(entry, list) for entry in lists):
        raise MlrunError(
            f"{source} is damaged: it must have the lists columns, features and unused"
        )
    if not all(isinstance(name, str) for name in contract["unused"]):
        raise MlrunError(f"{source} is damaged: unused must contain only names")
    for column in contract["columns"]:
        from_plain(Column, column, source=source)
    features = [from_plain(Feature, feature, source=source) for feature in contract["features"]]
    count = len(contract["columns"])
    if not features or not all(0 <= feature.column < count for feature in features):
        raise MlrunError(f"{source} is damaged: a feature refers to a column that does not exist")
    return TablePreprocess(contract["columns"], contract["features"])


def _doubles(values: Any) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64)


# --- fitting a table's contract -------------------------------------------------------------


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
            levels = sorted(set(as_text(column_of_rows)) - {None}, key=_natural)
            fill = None if missing == "error" else float(len(levels))
            columns.append({"name": name, "categories": levels, "fill": fill})
            features += _category_features(index, name, levels, encode)
        else:
            column, feature = _fit_number(column_of_rows, path, scale=scale, missing=missing)
            columns.append(column)
            features.append({"name": name, "column": index, "level": None} | feature)
        let_go(table[name].to_numpy())
    return {"input": "table", "columns": columns, "features": features, "unused": []}


def _natural(text: str) -> tuple[bool, float, str]:
    """Sort key: numbers by value, then words."""
    try:
        return False, float(text), text
    except ValueError:
        return True, 0.0, text


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


def _refuse_missing(
    values: NDArray[np.float64], column: pd.Series, path: Path, *, allowed: bool
) -> None:
    at = first_missing(values)
    if at is not None and not allowed:
        count = int(np.isnan(values).sum())
        more = f" (and {count - 1} more in this column)" if count > 1 else ""
        raise MlrunError(
            f"{place(column, at, path)}: the value is missing{more}; fill it in, or train with "
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
        MlrunError: naming the first such place.
    """
    allowed = missing != "error"
    for name in table.columns:
        if name in categorical:
            codes = np.where(pd.isna(table[name]), np.nan, 0.0)
            _refuse_missing(codes, table[name], path, allowed=allowed)
        else:
            values = as_numbers(table[name], path, advice=_category_advice(name))
            _refuse_missing(values, table[name], path, allowed=allowed)


def _category_advice(name: str) -> str:
    return f"; if the column is categorical, set data.categorical=['{name}']"


# --- applying a contract to a file ----------------------------------------------------------


def tell_surplus(table: pd.DataFrame, contract: Contract, path: Path) -> None:
    """Warn about columns of a new file that are unknown to training; they are ignored."""
    known = {*contract["unused"], *(column["name"] for column in contract["columns"])}
    surplus = [str(name) for name in table.columns if name not in known]
    if surplus:
        listed = ", ".join(f"'{name}'" for name in surplus[:5]) + (" …" if surplus[5:] else "")
        log.warning("%s: ignoring %d column(s) unknown to training: %s", path, len(surplus), listed)


def raw_rows(
    table: pd.DataFrame,
    contract: Contract,
    path: Path,
    *,
    allow_unknown: bool = True,
    memory_budget: float = math.inf,
) -> Tensor | Columns:
    """Return the columns of the contract, in its order, as (n, columns) float64.

    The columns of a large table are not copied; see `Columns` for `memory_budget`, in bytes.

    Raises:
        MlrunError: a column is missing, or has text instead of numbers, a missing value, or a
            category that is unknown to training and not allowed.
    """
    names = [column["name"] for column in contract["columns"]]
    absent = [name for name in names if name not in table.columns]
    if absent:
        listed = ", ".join(f"'{name}'" for name in absent[:5]) + (" …" if absent[5:] else "")
        hint = did_you_mean(absent[0], [str(c) for c in table.columns if c not in names])
        raise MlrunError(
            f"{path}: {len(absent)} of the model's {len(names)} columns are missing: "
            f"{listed}.{hint}"
        )
    parts = [
        _raw_column(table[column["name"]], column, path, allow_unknown)
        for column in contract["columns"]
    ]
    if len(table) * len(parts) > MOST_IN_MEMORY:
        return Columns(parts, memory_budget=memory_budget)
    return torch.from_numpy(np.stack(parts, axis=1))


def _raw_column(
    values: pd.Series, column: Mapping[str, Any], path: Path, allow_unknown: bool
) -> NDArray[np.float64]:
    fill, levels = column["fill"], column["categories"]
    numbers = as_numbers(values, path) if levels is None else _codes(values, levels)
    _refuse_missing(numbers, values, path, allowed=fill is not None)
    unknown = np.array([]) if levels is None else np.flatnonzero(numbers == len(levels))
    if unknown.size:
        _tell_unknown(values, levels, unknown, path, allowed=allow_unknown)
    return numbers


def _codes(values: pd.Series, levels: Sequence[str]) -> NDArray[np.float64]:
    """Encode each category as its index in `levels`, and unknown ones as len(levels)."""
    code = {level: float(number) for number, level in enumerate(levels)}
    unknown = float(len(levels))
    return np.array([np.nan if v is None else code.get(v, unknown) for v in as_text(values)])


def _tell_unknown(
    values: pd.Series, levels: Sequence[str], at: NDArray[np.int64], path: Path, *, allowed: bool
) -> None:
    first = str(values.iloc[at[0]])
    more = f" (and {len(at) - 1} more rows)" if len(at) > 1 else ""
    what = f"{place(values, int(at[0]), path)}: category '{first}' is unknown to training{more}"
    if allowed:
        log.info("%s; treated as %s", what, UNKNOWN)
        return
    listed = ", ".join(levels[:6]) + (" …" if levels[6:] else "")
    hint = did_you_mean(first, levels)
    raise MlrunError(f"{what}; known: {listed}; --allow-unknown maps it to {UNKNOWN}.{hint}")
