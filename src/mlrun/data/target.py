"""The target of a table: its column, its kind, its classes and its values."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlrun.data.column_values import (
    as_numbers,
    as_text,
    by_value,
    first_missing,
    looks_numeric,
    position,
)
from mlrun.data.dataset import CLASSIFICATION, REGRESSION
from mlrun.errors import MlrunError

log = logging.getLogger(__name__)


MOST_CLASSES = 20  # integers with more distinct values are quantities


@dataclass(frozen=True)
class Target:
    """The target of a training table."""

    name: str
    kind: str  # regression | classification
    classes: tuple[str, ...]  # labels; empty for regression
    values: NDArray[Any]  # (n,) class numbers or values

    @classmethod
    def of(cls, column: pd.Series, kind: str, path: Path) -> "Target":
        """Read the target from its column.

        Args:
            column: (n,) the target of every row.
            kind: regression, classification, or auto to infer it.
            path: the file, for messages.

        Raises:
            MlrunError: nothing can be learned from the column, or it does not fit the kind.
        """
        check_target(column, path)
        kind = infer_kind(column) if kind == "auto" else kind
        classes = classes_of(column, path) if kind == CLASSIFICATION else ()
        return cls(str(column.name), kind, classes, target_values(column, classes, path))

    def scaling(self, train: NDArray[np.int64]) -> dict[str, Any]:
        """Return center and scale of the training rows as fields of a Spec; empty for classes."""
        if self.kind != REGRESSION:
            return {}
        values = self.values[train]
        spread = float(values.std()) or 1.0
        return {"target_center": float(values.mean()), "target_scale": spread}


def target_column(table: pd.DataFrame, test: pd.DataFrame | None, path: Path) -> str:
    """Return the only column that is missing in the test file, otherwise the last column."""
    lacking = [] if test is None else [c for c in table.columns if c not in test.columns]
    if len(lacking) > 1:
        listed = ", ".join(map(str, lacking[:5]))
        raise MlrunError(
            f"{path}: which column is the target? The test file has no {listed}; set data.target=…"
        )
    target = str(lacking[0] if lacking else table.columns[-1])
    why = "the only column missing in the test file" if lacking else "the last column"
    log.info("target: %s (%s)", target, why)
    return target


def infer_kind(target: pd.Series) -> str:
    """Text, booleans and at most 20 distinct integers are classes; other targets are quantities."""
    distinct = target.nunique()
    if not looks_numeric(target) and distinct > MOST_CLASSES and distinct > len(target) / 2:
        raise MlrunError(
            f"the target '{target.name}' has {distinct} different texts in {len(target)} rows "
            f"('{target.iloc[0]}' …): these are neither numbers nor classes"
        )
    if not looks_numeric(target) or pd.api.types.is_bool_dtype(target):
        kind, why = CLASSIFICATION, f"{distinct} different texts"
    elif _whole(target) and distinct <= MOST_CLASSES:
        kind, why = CLASSIFICATION, f"{distinct} different integers"
    else:
        kind, why = REGRESSION, f"{distinct} different numbers"
    other = REGRESSION if kind == CLASSIFICATION else CLASSIFICATION
    log.info("kind: %s (target '%s' has %s; override: data.kind=%s)", kind, target.name, why, other)
    return kind


def _whole(column: pd.Series) -> bool:
    numbers = pd.to_numeric(column, errors="coerce").dropna()
    return bool((numbers == numbers.round()).all())


def check_target(target: pd.Series, path: Path) -> None:
    """Raise MlrunError if a target value is missing or all values are equal."""
    _refuse_missing(target, path)
    if len(target) == 1:
        raise MlrunError(f"{path} has 1 row; at least 2 are needed, one of them for validation")
    if target.nunique() < 2:
        raise MlrunError(
            f"{path}: the target '{target.name}' is {target.iloc[0]} in every row: nothing to learn"
        )


def classes_of(target: pd.Series, path: Path) -> tuple[str, ...]:
    """Return the class labels as text: numbers sorted by value, words alphabetically."""
    if pd.api.types.is_float_dtype(target) and not _whole(target):
        raise MlrunError(
            f"{path}: the target '{target.name}' has fractions, which cannot be classes; "
            "set data.kind=regression"
        )
    return tuple(sorted(set(as_text(target)), key=by_value))


def target_values(
    target: pd.Series, classes: Sequence[str], path: Path
) -> NDArray[np.float64] | NDArray[np.int64]:
    """Return (n,) class numbers, or (n,) values if `classes` is empty.

    Raises:
        MlrunError: a target is missing, is text instead of a number, or is an unknown class.
    """
    _refuse_missing(target, path)
    if not classes:
        return _not_too_large(as_numbers(target, path), target, path)
    number = {label: index for index, label in enumerate(classes)}
    values = np.array([number.get(label, -1) for label in as_text(target)], dtype=np.int64)
    if values.min() < 0:
        at = int(values.argmin())
        raise MlrunError(
            f"{position(target, at, path)}: class '{target.iloc[at]}' is not a class of the model: "
            f"{', '.join(classes[:20])}"
        )
    return values


def _not_too_large(
    values: NDArray[np.float64], target: pd.Series, path: Path
) -> NDArray[np.float64]:
    """Return the values; raise MlrunError if one does not fit into float32."""
    largest = int(np.abs(values).argmax())
    if np.abs(values[largest]) > np.finfo(np.float32).max:
        raise MlrunError(
            f"{position(target, largest, path)}: {values[largest]} is too large for float32"
        )
    return values


def _refuse_missing(target: pd.Series, path: Path) -> None:
    at = first_missing(target.to_numpy())
    if at is not None:
        raise MlrunError(f"{position(target, at, path)}: the target is missing")


def as_tensor(values: NDArray[Any]) -> Tensor:
    """Convert class numbers to (n,) int64, and values to (n, 1) float64.

    Values keep float64 until their center is subtracted: float32 has 7 digits, and a target like a
    time in seconds needs more.
    """
    if np.issubdtype(values.dtype, np.integer):
        return torch.from_numpy(values)
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)
