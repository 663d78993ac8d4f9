"""Preprocessing: fitted on the training rows with scikit-learn, then frozen into plain numbers.

What is fitted is a *contract*, a dict of plain values that JSON can hold: which columns a file
must have, what stands in for missing values, and how each feature is made of a column. A contract
rebuilds the `nn.Module` that turns raw rows into features, so nothing is ever pickled.
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

MOST_IN_MEMORY = 2**24  # numbers of a table; a larger one's columns are not copied together
UNKNOWN = "(unknown)"  # the bucket for categories that training never saw
Contract = dict[str, Any]


class TablePreprocess(nn.Module):
    """Raw rows (n, columns) float64 in, features (n, features) float32 out.

    A feature is either a scaled number, `(column - center) / scale`, or the indicator of one
    level of a categorical column. Categories come as their number in the contract's list.
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
        """(n, columns) → (n, features)."""
        filled = torch.where(rows.isnan(), self.fill, rows)[:, self.source]
        scaled = (filled - self.center) / self.scale
        if self.only_numbers:
            return scaled.float()
        return torch.where(self.level.isnan(), scaled, (filled == self.level).double()).float()


class ImagePreprocess(nn.Module):
    """Bytes (n, channels, height, width) in, standardised float32 images out."""

    def __init__(self, mean: float, std: float):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, images: Tensor) -> Tensor:
        """Grey levels 0..255 → (level / 255 - mean) / std."""
        return (images.float() / 255 - self.mean) / self.std


@dataclass(frozen=True)
class Grey:
    """The contract of images: all pixels are standardised alike."""

    input: str
    mean: float
    std: float


@dataclass(frozen=True)
class Column:
    """A contract's entry for a column that a file must have."""

    name: str
    categories: tuple[str, ...] | None  # None: numbers
    fill: float | None  # what stands in for a missing value; None: missing is an error


@dataclass(frozen=True)
class Feature:
    """A contract's entry for a feature made of a column."""

    name: str
    column: int
    level: float | None  # the category it indicates; None: a scaled number
    center: float
    scale: float


def build_preprocess(contract: Contract) -> nn.Module:
    """The module a contract describes.

    Raises:
        MlrunError: it is not what fitting gives.
    """
    source = "the preprocessing contract"
    if not isinstance(contract, Mapping):
        raise MlrunError(f"{source} is damaged")
    if contract.get("input") == "images":
        fitted = from_plain(Grey, {**contract}, source=source)
        return ImagePreprocess(fitted.mean, fitted.std)
    lists = [contract.get(key) for key in ("columns", "features", "unused")]
    if contract.get("input") != "table" or not all(isinstance(entry, list) for entry in lists):
        raise MlrunError(f"{source} is damaged: columns, features and unused are wanted")
    if not all(isinstance(name, str) for name in contract["unused"]):
        raise MlrunError(f"{source} is damaged: unused holds more than names")
    for column in contract["columns"]:
        from_plain(Column, column, source=source)
    features = [from_plain(Feature, feature, source=source) for feature in contract["features"]]
    count = len(contract["columns"])
    if not features or not all(0 <= feature.column < count for feature in features):
        raise MlrunError(f"{source} is damaged: a feature of a column that is not there")
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
    """Fit on the training rows: one entry per column, one or more features of each.

    Args:
        table: feature columns only.
        rows: the training rows.
        path: the file they come from, for messages.
        categorical: which columns hold categories.
        encode: onehot | ordinal.
        scale: standard | minmax | none.
        missing: error | mean | median | the number that stands in.

    Raises:
        MlrunError: a number column holds text, or a value is missing where that is an error.
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
    """Sort numbers by value and before words."""
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
        raise MlrunError(f"{path}: column '{column.name}' holds numbers too large to compute with")
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
        more = f" (and {count - 1} more of this column)" if count > 1 else ""
        raise MlrunError(
            f"{place(column, at, path)}: the value is missing{more}; fill it in, or train with "
            "data.missing=mean (or median, or a number; texts become a category of their own)"
        )


def _fill_value(values: NDArray[np.float64], name: str, missing: str | float) -> float | None:
    if missing == "error":
        return None
    if isinstance(missing, int | float):
        return float(missing)
    if np.isnan(values).all():
        raise MlrunError(f"column '{name}' is empty in every training row: data.drop=[{name}]")
    return float(np.nanmean(values) if missing == "mean" else np.nanmedian(values))


def _center_and_scale(values: NDArray[np.float64], scale: str) -> tuple[float, float]:
    """As scikit-learn's scalers fit them, whose import takes longer than a small run."""
    if scale == "none":
        return 0.0, 1.0
    if scale == "minmax":
        return float(values.min()), float(np.ptp(values)) or 1.0
    center, count = values.mean(), len(values)
    deviations = values - center
    variance = (np.square(deviations).sum() - deviations.sum() ** 2 / count) / count
    rounding = count * np.finfo(np.float64).eps  # a constant column's variance is no more than this
    constant = variance <= rounding * variance + (rounding * center) ** 2
    return float(center), 1.0 if constant else float(np.sqrt(variance))


def check_table(
    table: pd.DataFrame, *, path: Path, categorical: Sequence[str], missing: str | float
) -> None:
    """Refuse text among numbers, and missing values where they are an error, in file order.

    Raises:
        MlrunError: with the first such place.
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
    return f"; if it is a category: data.categorical=['{name}']"


# --- applying a contract to a file ----------------------------------------------------------


def tell_surplus(table: pd.DataFrame, contract: Contract, path: Path) -> None:
    """Say which columns of a new file the training file did not have; they are not used."""
    known = {*contract["unused"], *(column["name"] for column in contract["columns"])}
    surplus = [str(name) for name in table.columns if name not in known]
    if surplus:
        listed = ", ".join(f"'{name}'" for name in surplus[:5]) + (" …" if surplus[5:] else "")
        log.warning(
            "%s: %d column(s) unknown in training, not used: %s", path, len(surplus), listed
        )


def raw_rows(
    table: pd.DataFrame,
    contract: Contract,
    path: Path,
    *,
    allow_unknown: bool = True,
    memory_budget: float = math.inf,
) -> Tensor | Columns:
    """The table's columns by name, in the contract's order, as (n, columns) float64.

    A large table's stay where they are; see `Columns` for `memory_budget`, in bytes.

    Raises:
        MlrunError: a column is missing, holds text where numbers are due, lacks a value, or holds a
            category that training never saw and that is not allowed.
    """
    names = [column["name"] for column in contract["columns"]]
    absent = [name for name in names if name not in table.columns]
    if absent:
        listed = ", ".join(f"'{name}'" for name in absent[:5]) + (" …" if absent[5:] else "")
        hint = did_you_mean(absent[0], [str(c) for c in table.columns if c not in names])
        raise MlrunError(
            f"{path}: {len(absent)} of the model's {len(names)} columns missing: {listed}.{hint}"
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
    """Each category as its number in the contract's list; those not in it as one more."""
    code = {level: float(number) for number, level in enumerate(levels)}
    unknown = float(len(levels))
    return np.array([np.nan if v is None else code.get(v, unknown) for v in as_text(values)])


def _tell_unknown(
    values: pd.Series, levels: Sequence[str], at: NDArray[np.int64], path: Path, *, allowed: bool
) -> None:
    first = str(values.iloc[at[0]])
    more = f" (and {len(at) - 1} more rows)" if len(at) > 1 else ""
    what = f"{place(values, int(at[0]), path)}: training never saw '{first}'{more}"
    if allowed:
        log.info("%s: taken as %s", what, UNKNOWN)
        return
    listed = ", ".join(levels[:6]) + (" …" if levels[6:] else "")
    hint = did_you_mean(first, levels)
    raise MlrunError(f"{what}, but {listed}; --allow-unknown takes it as {UNKNOWN}.{hint}")
