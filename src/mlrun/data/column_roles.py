"""The role of each column of a table other than the target: id, number, category, or left out."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from mlrun.data.column_values import as_numbers, as_text, first_missing, looks_numeric, position
from mlrun.errors import MlrunError, did_you_mean

log = logging.getLogger(__name__)

MOST_FEATURES = 1000  # a text column with more categories is left out by default
MOST_CATEGORIES = 50  # more, and over half as many as rows: names or free text


def require(name: str, table: pd.DataFrame, path: Path, *, key: str) -> str:
    """Return the name of the column; raise MlrunError if the table does not have it."""
    if name not in table.columns:
        names = [str(column) for column in table.columns]
        listed = ", ".join(names[:8]) + (" …" if names[8:] else "")
        hint = did_you_mean(name, names)
        raise MlrunError(f"{path} has no column '{name}' ({key}).{hint} Its columns: {listed}")
    return name


def id_column(name: str | None, table: pd.DataFrame) -> str | None:
    """Return the id column: the requested one, or the one named id; None if there is none."""
    if name is not None:
        return name if name in table.columns else None
    return next((str(c) for c in table.columns if str(c).lower() == "id"), None)


def feature_columns(table: pd.DataFrame, *, leave_out: Sequence[str]) -> list[str]:
    """Return all other columns, except columns without a name (a saved index)."""
    nameless = [str(c) for c in table.columns if str(c).startswith("Unnamed: ")]
    if nameless:
        log.info("left out: %d column(s) without a name", len(nameless))
    return [str(c) for c in table.columns if c not in {*leave_out, *nameless}]


def categorical_columns(
    table: pd.DataFrame, setting: str | Sequence[str], path: Path
) -> tuple[list[str], list[str]]:
    """Find the columns with categories, and the ones to leave out as names or free text.

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
            "left out: '%s' (%d different texts in %d rows; to keep it: data.categorical=['%s'])",
            *(name, table[name].nunique(), len(table), name),
        )
    return [*listed, *(c for c in texts if c not in names)], names


def _refuse_decimal_commas(column: pd.Series, path: Path) -> None:
    present = column.dropna().astype(str)
    commas = present.str.fullmatch(r"\s*-?\d+,\d+\s*")
    if len(present) and commas.mean() >= 0.5:
        raise MlrunError(
            f"{path}: column '{column.name}' looks like numbers with commas ('{present.iloc[0]}'); "
            "set data.decimal=comma or drop thousands separators"
        )


def _is_free_text(column: pd.Series) -> bool:
    distinct: int = column.nunique()
    return distinct > MOST_FEATURES or (distinct > MOST_CATEGORIES and distinct > len(column) / 2)


def order_or_groups(column: pd.Series, path: Path, *, in_order: bool) -> NDArray[Any]:
    """Return the values for a split: numbers, or dates (`in_order`), or text."""
    at = first_missing(column.to_numpy())
    if at is not None:
        raise MlrunError(
            f"{position(column, at, path)}: data.split.column needs a value in every row"
        )
    if looks_numeric(column):
        return as_numbers(column, path)
    try:
        return pd.to_datetime(column, format="ISO8601").to_numpy() if in_order else as_text(column)
    except ValueError:
        raise MlrunError(
            f"{path}: column '{column.name}' ('{column.iloc[0]}' …) has no order; "
            "data.split.column needs numbers or dates (YYYY-MM-DD)"
        ) from None


def row_ids(table: pd.DataFrame, column: str | None) -> Sequence[Any]:
    """Return the ids for pred.csv: the id column, or row numbers from 0."""
    return range(len(table)) if column is None else table[column].fillna("").tolist()
