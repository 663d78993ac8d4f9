"""Find the columns that name the rows: they go to pred.csv and are not learned from."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mlrun.data.findings import Findings
from mlrun.data.number_format import PLAIN

NUMBERED = "none"  # data.id=none: no column names the rows
# PassengerId, customerID, Loan_ID, RowNumber, CLIENTNUM, row.names; but not Paid, Humid or GRID.
_NAMES = re.compile(
    r"(?i:id|index|idx|rownames?|row[ _.]?names?|row|uuid|guid|key|unnamed: 0)"
    r"|.*[ _.-](?i:id|no|nr|num|number|key|uuid|guid|code_?id)"
    r"|.*[a-z](?:Id|ID|Nr|No|Num|Number|Key|UUID)"
    r"|.*(?:NUM|NUMBER)"
)


def identifiers(
    table: pd.DataFrame,
    test: pd.DataFrame | None,
    *,
    setting: str | None,
    target: str,
    told: Findings,
) -> list[str]:
    """Return the columns that name the rows; the first one is for pred.csv.

    These are the column `setting`, or else the column named id, and those that have such a name
    and another value in every row of both files.

    Args:
        table: the training table.
        test: the test table, if any.
        setting: data.id: a column, none, or None to look for them.
        target: the target column, never an id.
        told: what was decided is added.
    """
    if setting == NUMBERED:
        return []
    names = [str(c) for one in (test, table) if one is not None for c in one.columns]
    named = [name for name in dict.fromkeys(names) if name.lower() == "id" and name != target]
    unique = [
        str(name)
        for name in table.columns
        if name not in (target, *named)
        and names_rows(str(name))
        and all(_is_unique(one[name]) for one in (table, test) if one is not None and name in one)
    ]
    found = [*named[:1], *unique]
    if setting is not None:
        return [setting, *(name for name in found if name != setting)]
    if found:
        why = "by its name" if named else "different in every row"
        told.add("id", f"{found[0]}, {why}", "data.id=none")
    if more := found[1:]:
        told.add("left out", f"{', '.join(more)}: different in every row", "data.id=none")
    return found


def names_rows(name: str) -> bool:
    """Whether a column is named like an id."""
    return _NAMES.fullmatch(name) is not None


def _is_unique(column: pd.Series) -> bool:
    """Whether the column has another text or whole number in every row."""
    if not column.notna().all() or not column.is_unique:
        return False
    if not pd.api.types.is_numeric_dtype(column):
        numbers = PLAIN.parse(column.to_numpy(object))
    else:
        numbers = column.to_numpy(np.float64)
    known = numbers[np.isfinite(numbers)]
    return bool((known == known.round()).all())


def row_ids(
    table: pd.DataFrame, column: str | None, *, among: pd.Index | None = None
) -> Sequence[Any]:
    """Return the ids for pred.csv as the file spells them, or row numbers from 0.

    Args:
        table: some rows of a file, or all of them.
        column: the column that names them.
        among: the index of all rows of the file, if `table` may have only some of them.
    """
    if column is not None and column in table.columns:
        return [value if value == value else "" for value in table[column].tolist()]
    if among is None or len(among) == len(table):
        return range(len(table))
    return among.get_indexer(table.index).tolist()
