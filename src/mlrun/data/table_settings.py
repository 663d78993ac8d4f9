"""The settings of conf/data/csv.yaml, checked."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from mlrun.data.cells import AUTO, NONE, FileSettings, FileSpelling
from mlrun.data.dataset import CLASSIFICATION, REGRESSION
from mlrun.data.number_format import MISSING_WORDS
from mlrun.errors import MlrunError, did_you_mean

CHOICES = {
    "kind": ("auto", REGRESSION, CLASSIFICATION),
    "scale": ("standard", "minmax", "none"),
    "encode": ("onehot", "ordinal"),
}
MISSING = ("auto", "error", "mean", "median")
SELECT_BY = ("f_test", "mutual_info", "correlation")


@dataclass(frozen=True)
class TableSettings:
    """The settings of a table and of the files that it is read from.

    Raises:
        MlrunError: a setting has an invalid value.
    """

    dir: str
    train: str | Sequence[str]
    test: str | Sequence[str | None] | None
    target: str | None
    id: str | None
    prediction: str | None
    drop: Sequence[str]
    kind: str
    features: str | Sequence[str] | Mapping[str, Any]
    scale: str
    scale_target: bool
    categorical: str | Sequence[str]
    encode: str
    min_frequency: int
    missing: str | float
    na_values: str | Sequence[str]
    encoding: str
    separator: str
    decimal: str
    header: str | int
    comment: str
    skip_rows: str | int
    units: str
    footer: str | int
    sheet: str | int
    duplicates: str
    memory_budget: float
    sample: str | None
    split: Mapping[str, Any]
    needs: ClassVar = ("train",)  # roles of the required files

    def __post_init__(self) -> None:
        self.file_settings()
        for name, choices in CHOICES.items():
            _one_of(f"data.{name}", getattr(self, name), choices)
        if isinstance(self.missing, str):
            _one_of("data.missing", self.missing, MISSING, "a number")
        elif not math.isfinite(self.missing):
            raise MlrunError(f"data.missing={self.missing}: must be a finite number")
        if self.min_frequency < 1:
            raise MlrunError(f"data.min_frequency={self.min_frequency}: must be at least 1")
        if not self.memory_budget > 0:
            raise MlrunError(f"data.memory_budget={self.memory_budget}: must be more than 0")
        if isinstance(self.categorical, str):
            _one_of("data.categorical", self.categorical, ("auto", "none"), "a list [a,b]")
        if isinstance(self.na_values, str):
            _one_of("data.na_values", self.na_values, ("auto",), "a list [a,b]")
        if isinstance(self.features, str):
            _one_of("data.features", self.features, ("all",), "a list [a,b]", "{top: 9, by: …}")
        elif isinstance(self.features, Mapping):
            _check_top(self.features)

    def file_settings(self, like: FileSpelling | None = None) -> FileSettings:
        """Return how to read a file.

        Args:
            like: the training file, which decides where a setting is auto: in a new file, a comma
                could be taken for one of thousands, and a single row for the header.
        """
        values = {one.name: getattr(self, one.name) for one in fields(FileSettings)}
        if like is not None and like.decimal == "," and self.decimal == AUTO:
            values["decimal"] = "comma"
        if like is not None and not like.has_header and self.header == AUTO:
            values["header"] = NONE
        return FileSettings(**values)

    def spelling(self, decimal: str) -> dict[str, Any]:
        """How a file with this decimal separator spells numbers and missing values."""
        words = MISSING_WORDS if self.na_values == AUTO else _lower(self.na_values)
        return {"decimal": decimal, "na_values": words}

    @property
    def missing_texts(self) -> tuple[str, ...]:
        """The words for a missing value among texts: only those that were set."""
        return () if self.na_values == AUTO else _lower(self.na_values)


def _lower(words: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(str(word).strip().lower() for word in words)


def _one_of(key: str, value: Any, choices: Sequence[str], *others: str) -> None:
    """Raise MlrunError if `value` is not one of `choices`; `others` describe further values."""
    if value not in choices:
        hint = did_you_mean(str(value), choices)
        raise MlrunError(f"{key}={value}: must be {' or '.join([*choices, *others])}.{hint}")


def _check_top(features: Mapping[str, Any]) -> None:
    if set(features) != {"top", "by"} or type(features["top"]) is not int:
        raise MlrunError("data.features: write a selection as {top: 24, by: f_test}")
    if features["top"] < 1:
        raise MlrunError(f"data.features.top={features['top']}: must be at least 1")
    _one_of("data.features.by", features["by"], SELECT_BY)
