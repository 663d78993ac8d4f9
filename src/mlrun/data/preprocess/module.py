"""Preprocessing: fitted on the training rows, then stored as plain numbers.

The result of fitting is a *contract*, a dict of plain JSON values: the columns that a file must
have, the replacements for missing values, and how each feature is computed from a column. It
rebuilds the `nn.Module` that turns raw rows into features, so no pickle is needed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlrun.config.signature import from_plain
from mlrun.data.dates import FORMATS, PARTS
from mlrun.data.number_format import NumberFormat
from mlrun.errors import MlrunError

Contract = dict[str, Any]

UNKNOWN = "(unknown)"  # the bucket for categories unknown to training
MISSING = "(missing)"  # the feature that indicates a missing value


class TablePreprocess(nn.Module):
    """Turns raw rows (n, columns) float64 into features (n, features) float32.

    A feature is a scaled number, `(column - center) / scale`, the indicator of one level of a
    categorical column, or the indicator of a missing value. Inputs encode a category as its index
    in the contract's list, and a missing value as NaN.
    """

    source: Tensor
    level: Tensor
    center: Tensor
    scale: Tensor
    fill: Tensor
    missing: Tensor

    def __init__(self, columns: Sequence[Mapping[str, Any]], features: Sequence[Mapping[str, Any]]):
        super().__init__()
        nan = float("nan")
        fill = [nan if c["fill"] is None else c["fill"] for c in columns]
        level = [nan if f["level"] is None else f["level"] for f in features]
        self.only_numbers = all(f["level"] is None for f in features)
        self.shows_gaps = any(f["missing"] for f in features)
        self.register_buffer("source", torch.tensor([f["column"] for f in features]))
        self.register_buffer("level", torch.tensor(level, dtype=torch.float64))
        self.register_buffer("center", _doubles(f["center"] for f in features))
        self.register_buffer("scale", _doubles(f["scale"] for f in features))
        self.register_buffer("fill", torch.tensor(fill, dtype=torch.float64))
        self.register_buffer("missing", torch.tensor([f["missing"] for f in features]))

    def forward(self, rows: Tensor) -> Tensor:
        """Compute (n, columns) → (n, features)."""
        filled = torch.where(rows.isnan(), self.fill, rows)[:, self.source]
        found = (filled - self.center) / self.scale
        if not self.only_numbers:
            found = torch.where(self.level.isnan(), found, (filled == self.level).double())
        if self.shows_gaps:
            gaps = rows.isnan()[:, self.source].double()
            found = torch.where(self.missing, gaps, found)
        return found.float()


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
    format: Mapping[str, Any] | None  # how the file spells the numbers (NumberFormat)
    date: Mapping[str, Any] | None  # format and part of a date, which is then the number
    knows_unknown: bool  # training rows were in the bucket for unknown categories


@dataclass(frozen=True)
class DatePart:
    """The part of a date that is a number."""

    format: str
    part: str  # one of mlrun.data.dates.PARTS

    def __post_init__(self) -> None:
        if self.part not in PARTS or self.format not in FORMATS:
            raise MlrunError(f"the preprocessing contract is damaged: no such date: {self}")


@dataclass(frozen=True)
class MissingWords:
    """An entry of a contract: the words for a missing value, lower case."""

    numbers: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Feature:
    """An entry of a contract: a feature computed from a column."""

    name: str
    column: int
    level: float | None  # the index of the category it indicates; None: a scaled number
    center: float
    scale: float
    missing: bool  # indicates a missing value of the column


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
    from_plain(MissingWords, contract.get("na_values"), source=source)
    formats = [contract.get("target_format")]
    for column in contract["columns"]:
        entry = from_plain(Column, column, source=source)
        formats.append(entry.format)
        if entry.date is not None:
            from_plain(DatePart, entry.date, source=source)
    for values in formats:
        if values is not None:
            from_plain(NumberFormat, values, source=source)
    features = [from_plain(Feature, feature, source=source) for feature in contract["features"]]
    count = len(contract["columns"])
    if not features or not all(0 <= feature.column < count for feature in features):
        raise MlrunError(f"{source} is damaged: a feature refers to a column that does not exist")
    return TablePreprocess(contract["columns"], contract["features"])


def _doubles(values: Any) -> Tensor:
    return torch.tensor(list(values), dtype=torch.float64)
