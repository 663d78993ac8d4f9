"""What each column of a table is: the target, the id, a number, a category, or left out."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.csv_file import as_numbers, as_text, first_missing, looks_numeric, place
from mlrun.data.dataset import CLASSIFICATION, REGRESSION
from mlrun.errors import MlrunError, did_you_mean

log = logging.getLogger(__name__)

MOST_CLASSES = 20  # whole numbers with more different values than this are quantities
MOST_FEATURES = 1000  # a text column with more is not made into as many features unless asked for
MOST_CATEGORIES = 50  # a text column with more, in over half as many rows, is names or free text


def require(name: str, table: pd.DataFrame, path: Path, *, key: str) -> str:
    """The column's name, once it is known to be there."""
    if name not in table.columns:
        names = [str(column) for column in table.columns]
        listed = ", ".join(names[:8]) + (" …" if names[8:] else "")
        hint = did_you_mean(name, names)
        raise MlrunError(f"{path} has no column '{name}' ({key}).{hint} It has {listed}")
    return name


def target_column(table: pd.DataFrame, test: pd.DataFrame | None, path: Path) -> str:
    """The one column the training file has and the test file lacks, else the last."""
    lacking = [] if test is None else [c for c in table.columns if c not in test.columns]
    if len(lacking) > 1:
        listed = ", ".join(map(str, lacking[:5]))
        raise MlrunError(
            f"{path}: which column is the target? The test file lacks {listed}; say data.target=…"
        )
    target = str(lacking[0] if lacking else table.columns[-1])
    why = "the column the test file lacks" if lacking else "the last column"
    log.info("target: %s (%s)", target, why)
    return target


def id_column(name: str | None, table: pd.DataFrame) -> str | None:
    """The column that names rows: the one asked for, or one called id; None where it is absent."""
    if name is not None:
        return name if name in table.columns else None
    return next((str(c) for c in table.columns if str(c).lower() == "id"), None)


def infer_kind(target: pd.Series) -> str:
    """Text, booleans and at most 20 different whole numbers are classes; the rest quantities."""
    distinct = target.nunique()
    if not looks_numeric(target) and distinct > MOST_CLASSES and distinct > len(target) / 2:
        raise MlrunError(
            f"the target '{target.name}' holds {distinct} different texts in {len(target)} rows "
            f"('{target.iloc[0]}' …): neither numbers nor classes"
        )
    if not looks_numeric(target) or pd.api.types.is_bool_dtype(target):
        kind, why = CLASSIFICATION, f"{distinct} different texts"
    elif _whole(target) and distinct <= MOST_CLASSES:
        kind, why = CLASSIFICATION, f"{distinct} different whole numbers"
    else:
        kind, why = REGRESSION, f"{distinct} different numbers"
    other = REGRESSION if kind == CLASSIFICATION else CLASSIFICATION
    log.info("kind: %s (target '%s' holds %s; else data.kind=%s)", kind, target.name, why, other)
    return kind


def _whole(column: pd.Series) -> bool:
    numbers = pd.to_numeric(column, errors="coerce").dropna()
    return bool((numbers == numbers.round()).all())


def check_target(target: pd.Series, path: Path) -> None:
    """Refuse a target with a missing value or a single one."""
    _refuse_missing(target, path)
    if len(target) == 1:
        raise MlrunError(f"{path} has 1 row; at least 2 are needed, one of them to validate")
    if target.nunique() < 2:
        raise MlrunError(
            f"{path}: the target '{target.name}' is {target.iloc[0]} in every row: nothing to learn"
        )


def classes_of(target: pd.Series, path: Path) -> tuple[str, ...]:
    """The class labels as text: numbers by value, words by letter."""
    if pd.api.types.is_float_dtype(target) and not _whole(target):
        raise MlrunError(
            f"{path}: the target '{target.name}' holds fractions, which are no classes: "
            "data.kind=regression"
        )
    return tuple(sorted(set(as_text(target)), key=_by_value))


def _by_value(label: str) -> tuple[bool, float, str]:
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label


def target_values(
    target: pd.Series, classes: Sequence[str], path: Path
) -> NDArray[np.float64] | NDArray[np.int64]:
    """(n,) class numbers, or (n,) values where there are no classes.

    Raises:
        MlrunError: a missing target, text where numbers are due, a class training did not have.
    """
    _refuse_missing(target, path)
    if not classes:
        return _not_too_large(as_numbers(target, path), target, path)
    number = {label: index for index, label in enumerate(classes)}
    values = np.array([number.get(label, -1) for label in as_text(target)], dtype=np.int64)
    if values.min() < 0:
        at = int(values.argmin())
        raise MlrunError(
            f"{place(target, at, path)}: class '{target.iloc[at]}' is not one of the model's: "
            f"{', '.join(classes[:20])}"
        )
    return values


def _not_too_large(
    values: NDArray[np.float64], target: pd.Series, path: Path
) -> NDArray[np.float64]:
    """The values, once they are known to fit into the float32 that is computed with."""
    largest = int(np.abs(values).argmax())
    if np.abs(values[largest]) > np.finfo(np.float32).max:
        raise MlrunError(
            f"{place(target, largest, path)}: {values[largest]} is too large to compute with"
        )
    return values


def _refuse_missing(target: pd.Series, path: Path) -> None:
    at = first_missing(target.to_numpy())
    if at is not None:
        raise MlrunError(f"{place(target, at, path)}: the target is missing")


def feature_columns(table: pd.DataFrame, *, leave_out: Sequence[str]) -> list[str]:
    """All columns but those; a column without a name (an index somebody saved) is left out too."""
    nameless = [str(c) for c in table.columns if str(c).startswith("Unnamed: ")]
    if nameless:
        log.info("left out: %d column(s) without a name", len(nameless))
    return [str(c) for c in table.columns if c not in {*leave_out, *nameless}]


def categorical_columns(
    table: pd.DataFrame, setting: str | Sequence[str], path: Path
) -> tuple[list[str], list[str]]:
    """Which columns hold categories, and which are left out as names or free text.

    Args:
        table: the feature columns.
        setting: auto (the text columns), a list (those and the text columns) or none.
        path: the file, for messages.

    Returns:
        (categories, left out).
    """
    if setting == "none":
        return [], []
    listed = [] if isinstance(setting, str) else list(setting)
    absent = [name for name in listed if name not in table.columns]
    if absent:
        hint = did_you_mean(absent[0], map(str, table.columns))
        raise MlrunError(f"{path}: data.categorical: '{absent[0]}' is not a feature.{hint}")
    texts = [str(c) for c in table.columns if c not in listed and not looks_numeric(table[c])]
    for name in texts:
        _refuse_decimal_commas(table[name], path)
    names = [c for c in texts if _is_free_text(table[c])]
    for name in names:
        log.info(
            "left out: '%s' (%d different texts in %d rows; data.categorical=['%s'] keeps it)",
            *(name, table[name].nunique(), len(table), name),
        )
    return [*listed, *(c for c in texts if c not in names)], names


def _refuse_decimal_commas(column: pd.Series, path: Path) -> None:
    present = column.dropna().astype(str)
    commas = present.str.fullmatch(r"\s*-?\d+,\d+\s*")
    if len(present) and commas.mean() >= 0.5:
        raise MlrunError(
            f"{path}: column '{column.name}' looks like numbers with commas ('{present.iloc[0]}'): "
            "data.decimal=comma, or write them without thousands separators"
        )


def _is_free_text(column: pd.Series) -> bool:
    distinct: int = column.nunique()
    return distinct > MOST_FEATURES or (distinct > MOST_CATEGORIES and distinct > len(column) / 2)


def order_or_groups(column: pd.Series, path: Path, *, in_order: bool) -> NDArray[Any]:
    """The values a split goes by, none missing: numbers; else dates (`in_order`), else text."""
    at = first_missing(column.to_numpy())
    if at is not None:
        raise MlrunError(f"{place(column, at, path)}: data.split.column needs a value in every row")
    if looks_numeric(column):
        return as_numbers(column, path)
    try:
        return pd.to_datetime(column, format="ISO8601").to_numpy() if in_order else as_text(column)
    except ValueError:
        raise MlrunError(
            f"{path}: column '{column.name}' ('{column.iloc[0]}' …) has no order: numbers or dates "
            "written YYYY-MM-DD are wanted (data.split.column)"
        ) from None


def row_ids(table: pd.DataFrame, column: str | None) -> Sequence[Any]:
    """What pred.csv calls the rows: the id column, else row numbers from 0 as pandas counts."""
    return range(len(table)) if column is None else table[column].fillna("").tolist()
