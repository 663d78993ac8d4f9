"""The role of each column of a table other than the target: id, number, category, or left out."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.cells import counted
from mlrun.data.column_kinds import Reading, reading_of
from mlrun.data.column_values import as_numbers, as_text, first_missing, position
from mlrun.data.findings import Findings
from mlrun.data.split import RowNumbers
from mlrun.errors import MlrunError, did_you_mean

MOST_FEATURES = 1000  # a text column with more categories is left out by default
MOST_COMPARED = 200_000  # rows of a table whose copies are looked for
MOST_LINES = 5  # for columns that are read alike
MOST_CATEGORIES = 50  # more, and over half as many as rows: names or free text


def require(name: str, table: pd.DataFrame, path: Path, *, key: str) -> str:
    """Return the name of the column; raise MlrunError if the table does not have it."""
    name = name.strip()  # as those of the header
    if name not in table.columns:
        names = [str(column) for column in table.columns]
        listed = ", ".join(names[:8]) + (" …" if names[8:] else "")
        hint = did_you_mean(name, names)
        if len(names) == 1 and not hint:
            hint = " It was read as one column: see data.separator."
        raise MlrunError(f"{path} has no column '{name}' ({key}).{hint} Its columns: {listed}")
    return name


def feature_columns(table: pd.DataFrame, *, leave_out: Sequence[str], told: Findings) -> list[str]:
    """Return all other columns, except columns without a name (a saved index)."""
    nameless = [str(c) for c in table.columns if str(c).startswith("Unnamed: ")]
    if nameless:
        value = f"{counted(len(nameless), 'column')} without a name"
        told.add("left out", value, f"data.features=[{nameless[0]},…]")
    return [str(c) for c in table.columns if c not in {*leave_out, *nameless}]


def group_column(split: Mapping[str, Any], told: Findings) -> list[str]:
    """Return the column that holds the groups of a split, which is no feature by default."""
    column = split.get("column")
    if column is None or "group" not in str(split.get("method")):
        return []
    told.add("left out", f"{column}: the groups of data.split", "data.features=[…]")
    return [str(column)]


def report_copies(
    table: pd.DataFrame, train: RowNumbers, valid: RowNumbers, *, told: Findings
) -> None:
    """Report the validation rows that also stand, with the same target, among the training rows."""
    if len(table) > MOST_COMPARED:
        return
    rows = pd.util.hash_pandas_object(table, index=False).to_numpy()
    copies = int(np.isin(rows[valid], rows[train]).sum())
    if copies:
        value = f"{copies} of {len(valid)} validation rows are copies of training rows"
        told.add("copies", value, "data.split.method=group")


def date_columns(
    readings: Mapping[str, Reading], columns: Sequence[str], categorical: Sequence[str]
) -> dict[str, str]:
    """Return the columns of dates and their formats."""
    found = {name: readings[name].dates for name in columns if name not in categorical}
    return {name: dates for name, dates in found.items() if dates is not None}


def report(
    readings: Mapping[str, Reading],
    columns: Sequence[str],
    categorical: Sequence[str],
    told: Findings,
) -> None:
    """Report the columns whose numbers are not spelled plainly, or have words for missing ones.

    Columns that are read alike share a line if they are many.
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for name in columns:
        if name not in categorical and (words := readings[name].words):
            how = f"{readings[name].kind}; {words}"
            alike.setdefault(re.sub(r" \(\d+\)", "", how), []).append((name, how))
    for how, found in alike.items():
        if len(found) > MOST_LINES:
            first = found[0][0]
            told.add(f"{first} and {len(found) - 1} more", how, f"data.categorical=[{first},…]")
        else:
            for name, value in found:
                told.add(name, value, f"data.categorical=[{name}]")


def categorical_columns(
    table: pd.DataFrame,
    setting: str | Sequence[str],
    readings: Mapping[str, Reading],
    path: Path,
    *,
    told: Findings,
) -> tuple[list[str], list[str]]:
    """Find the columns with categories, and the ones to leave out.

    Args:
        table: the feature columns.
        setting: auto (the text columns), a list (those and the text columns) or none.
        readings: column → how its cells are read.
        path: the file, for messages.
        told: what was decided is added.

    Returns:
        (categories, left out: names, free text and empty columns).
    """
    empty = [name for name, reading in readings.items() if reading.kind == "empty"]
    if empty:
        told.add("left out", f"{', '.join(empty)}: empty in every row")
    if setting == "none":
        return [], empty
    listed = [] if isinstance(setting, str) else list(setting)
    absent = [name for name in listed if name not in table.columns]
    if absent:
        hint = did_you_mean(absent[0], map(str, table.columns))
        raise MlrunError(f"{path}: data.categorical: '{absent[0]}' is not a feature.{hint}")
    kinds = {name: reading.kind for name, reading in readings.items() if name not in listed}
    texts = [name for name, kind in kinds.items() if kind == "texts"]
    names = [name for name in texts if _is_free_text(table[name])]
    for name in names:
        value = f"{name}: {table[name].nunique()} different texts in {len(table)} rows"
        told.add("left out", value, f"data.categorical=[{name}]")
    return [*listed, *(c for c in texts if c not in names)], [*empty, *names]


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
    if reading_of(column, decimal=".", na_values=()).kind == "numbers":
        return as_numbers(column, path)
    try:
        return pd.to_datetime(column, format="ISO8601").to_numpy() if in_order else as_text(column)
    except ValueError:
        raise MlrunError(
            f"{path}: column '{column.name}' ('{column.iloc[0]}' …) has no order; "
            "data.split.column needs numbers or dates (YYYY-MM-DD)"
        ) from None
