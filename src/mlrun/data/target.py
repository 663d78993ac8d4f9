"""The target of a table: its column, its kind, its classes and its values."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlrun.data.categories import codes, levels_of
from mlrun.data.column_kinds import Reading, reading_of
from mlrun.data.column_values import as_numbers, first_missing, position
from mlrun.data.dataset import CLASSIFICATION, REGRESSION, Spec
from mlrun.data.findings import Findings
from mlrun.data.number_format import (
    PLAIN,
    NumberFormat,
    format_of,
    missing_among,
    without_missing,
)
from mlrun.errors import MlrunError

MOST_CLASSES = 20  # integers with more distinct values are quantities


@dataclass(frozen=True)
class Target:
    """The target of a training table, without the rows that have none."""

    name: str
    kind: str  # regression | classification
    classes: tuple[str, ...]  # labels as the file spells them; empty for regression
    form: NumberFormat  # how the file spells the values of a regression
    values: NDArray[Any]  # (n,) class numbers or values

    @classmethod
    def of(
        cls,
        column: pd.Series,
        kind: str,
        path: Path,
        *,
        told: Findings,
        decimal: str = ".",
        na_values: Collection[str] = (),
    ) -> "Target":
        """Read the target from its column, which has no missing values.

        Args:
            column: (n,) the target of every row.
            kind: regression, classification, or auto to infer it.
            path: the file, for messages.
            told: what was decided is added.
            decimal: the decimal separator of the file.
            na_values: words that mean a missing value, lower case.

        Raises:
            MlrunError: nothing can be learned from the column, or it does not fit the kind.
        """
        check_target(column, path)
        reading = reading_of(column, decimal=decimal, na_values=na_values)
        kind = infer_kind(column, reading, path, told) if kind == "auto" else kind
        if kind == REGRESSION and reading.words:
            told.add(str(column.name), f"{reading.kind}; {reading.words}")
        if kind == CLASSIFICATION:
            classes = classes_of(column, path)
            values: NDArray[Any] = class_numbers(column, classes, path)
        else:
            classes, values = (), quantities(column, path, reading.form)
        return cls(str(column.name), kind, classes, reading.form, values)

    def scaling(self, train: NDArray[np.int64]) -> dict[str, Any]:
        """Return center and scale of the training rows as fields of a Spec; empty for classes."""
        if self.kind != REGRESSION:
            return {}
        values = self.values[train]
        spread = float(values.std()) or 1.0
        return {"target_center": float(values.mean()), "target_scale": spread}


def with_target(
    table: pd.DataFrame,
    name: str,
    *,
    decimal: str,
    na_values: Collection[str],
    na_texts: Collection[str] = (),
) -> pd.DataFrame:
    """Return the rows that have a target.

    Args:
        table: all rows.
        name: the target column.
        decimal: the decimal separator of the file.
        na_values: words, lower case, that mean a missing target in a column of numbers.
        na_texts: such words in a column of texts, where `None` may be a class.
    """
    column = table[name]
    numbers = PLAIN.parse(column.to_numpy(object))
    if np.isfinite(without_missing(numbers, na_values)).all():
        return table
    reading = reading_of(column, decimal=decimal, na_values=na_values)
    if reading.kind in ("texts", "empty"):  # nothing but such words: they are the classes
        missing = missing_targets(column, None, na_texts)
    else:
        missing = missing_targets(column, reading.form, na_values)
    return table[~missing] if missing.any() else table


def missing_targets(
    column: pd.Series, form: NumberFormat | None, words: Collection[str]
) -> NDArray[np.bool_]:
    """Return (n,) whether a target is missing: an empty cell, or a word or number for it.

    Args:
        column: texts, or numbers.
        form: how it spells numbers; None: it has classes.
        words: the words and numbers that mean a missing target, lower case.
    """
    texts = column.to_numpy(object)
    missing = missing_among(texts, words)
    if form is None:
        return missing
    typed = pd.api.types.is_numeric_dtype(column)
    numbers = column.to_numpy(np.float64, na_value=np.nan) if typed else form.parse(texts)
    return missing | (np.isfinite(numbers) & np.isnan(without_missing(numbers, words)))


def target_column(
    table: pd.DataFrame, test: pd.DataFrame | None, path: Path, *, told: Findings
) -> str:
    """Return the only column that is missing in the test file, otherwise the last column."""
    lacking = [] if test is None else [c for c in table.columns if c not in test.columns]
    if len(lacking) > 1:
        listed = ", ".join(map(str, lacking[:5]))
        raise MlrunError(
            f"{path}: which column is the target? The test file has no {listed}; set data.target=…"
        )
    target = str(lacking[0] if lacking else table.columns[-1])
    why = "the only column missing in the test file" if lacking else "the last column"
    told.add("target", f"{target}, {why}", "data.target=…")
    return target


def infer_kind(target: pd.Series, reading: Reading, path: Path, told: Findings) -> str:
    """Texts, true/false and a few integers that occur often are classes; other numbers quantities.

    A few are at most 20, each on average at least twice.
    """
    distinct = target.nunique()
    if reading.kind != "numbers":
        if distinct > MOST_CLASSES and distinct > len(target) / 2:
            why = f": {reading.others.text}" if reading.others is not None else ""
            raise MlrunError(
                f"the target '{target.name}' has {distinct} different texts in {len(target)} rows "
                f"('{target.iloc[0]}' …): these are neither numbers nor classes{why}"
            )
        kind, why = CLASSIFICATION, f"{distinct} different texts"
    elif reading.form.flags or pd.api.types.is_bool_dtype(target):
        kind, why = CLASSIFICATION, f"{distinct} different texts"
    elif not _whole(target, reading, path) or distinct > MOST_CLASSES:
        kind, why = REGRESSION, f"{distinct} different numbers"
    elif 2 * distinct > len(target):
        kind, why = REGRESSION, f"{distinct} different integers in only {len(target)} rows"
    else:
        kind, why = CLASSIFICATION, f"{distinct} different integers"
    other = REGRESSION if kind == CLASSIFICATION else CLASSIFICATION
    told.add("kind", f"{kind}: '{target.name}' has {why}", f"data.kind={other}")
    return kind


def _whole(column: pd.Series, reading: Reading, path: Path) -> bool:
    if reading.form.symbols or reading.form.thousands:
        return False  # money and percents are quantities
    numbers = as_numbers(column, path, form=reading.form)
    return bool((numbers == numbers.round()).all())


def check_target(target: pd.Series, path: Path) -> None:
    """Raise MlrunError if a target value is missing or all values are equal."""
    _refuse_missing(target, path)
    if len(target) == 0:
        raise MlrunError(f"{path}: no row has a target '{target.name}'; see data.target")
    if len(target) == 1:
        raise MlrunError(f"{path} has 1 row; at least 2 are needed, one of them for validation")
    if target.nunique() < 2:
        raise MlrunError(
            f"{path}: the target '{target.name}' is {target.iloc[0]} in every row: nothing to learn"
        )


def classes_of(target: pd.Series, path: Path) -> tuple[str, ...]:
    """Return the class labels as the file spells them: numbers by value, words alphabetically."""
    labels = levels_of(target)
    if len(labels) > MOST_CLASSES and any(map(_is_fraction, labels)):
        raise MlrunError(
            f"{path}: the target '{target.name}' has fractions, which cannot be classes; "
            "set data.kind=regression"
        )
    return tuple(labels)


def _is_fraction(label: str) -> bool:
    try:
        return not float(label).is_integer()
    except (ValueError, OverflowError):
        return False


def class_numbers(target: pd.Series, classes: Sequence[str], path: Path) -> NDArray[np.int64]:
    """Return (n,) class numbers.

    Raises:
        MlrunError: a target is missing, or not one of the classes.
    """
    _refuse_missing(target, path)
    values = codes(target, classes)
    unknown = values == len(classes)
    if unknown.any():
        at = int(unknown.argmax())
        raise MlrunError(
            f"{position(target, at, path)}: class '{target.iloc[at]}' is not a class of the model: "
            f"{', '.join(classes[:20])}"
        )
    return values.astype(np.int64)


def quantities(target: pd.Series, path: Path, form: NumberFormat) -> NDArray[np.float64]:
    """Return (n,) values of a regression.

    Raises:
        MlrunError: a target is missing, is no number, or does not fit into float32.
    """
    _refuse_missing(target, path)
    values = as_numbers(target, path, form=form, na_values=())
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


def _refuse_words(target: pd.Series, words: Collection[str], path: Path) -> None:
    if pd.api.types.is_numeric_dtype(target):
        return  # without words
    missing = missing_among(target.to_numpy(object), words)
    if missing.any():
        at = int(missing.argmax())
        word = "" if pd.isna(target.iloc[at]) else f" ('{target.iloc[at]}')"
        raise MlrunError(f"{position(target, at, path)}: the target is missing{word}")


def target_of(
    table: pd.DataFrame, contract: Mapping[str, Any], spec: Spec, path: Path
) -> tuple[Tensor | None, str]:
    """Return the targets of a table for a trained model, or None and the reason."""
    if spec.target not in table.columns:
        return None, f"{path} has no target column '{spec.target}'"
    column, words = table[spec.target], contract["na_values"]
    form = None if spec.classes else format_of(contract["target_format"])
    missing = missing_targets(column, form, words["texts" if form is None else "numbers"])
    if missing.any():
        return None, f"{position(column, int(missing.argmax()), path)}: the target is missing"
    try:
        if form is None:
            return as_tensor(class_numbers(column, spec.classes, path)), ""
        _refuse_words(column, words["numbers"], path)
        return as_tensor(quantities(column, path, form)), ""
    except MlrunError as error:
        return None, str(error)


def as_tensor(values: NDArray[Any]) -> Tensor:
    """Convert class numbers to (n,) int64, and values to (n, 1) float64.

    Values keep float64 until their center is subtracted: float32 has 7 digits, and a target like a
    time in seconds needs more.
    """
    if np.issubdtype(values.dtype, np.integer):
        return torch.from_numpy(values)
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)
