"""Check a table against a contract, and convert it to raw rows."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlrun.data.categories import codes
from mlrun.data.column_values import as_numbers, position
from mlrun.data.dates import date_part
from mlrun.data.number_format import format_of, missing_among
from mlrun.data.preprocess.module import UNKNOWN, Contract
from mlrun.data.preprocess.plan import refuse_missing
from mlrun.data.rows import Columns
from mlrun.errors import MlrunError, did_you_mean

log = logging.getLogger(__name__)

MOST_IN_MEMORY = 2**24  # numbers in a table; columns of a larger one are not copied into one array


def warn_about_surplus(table: pd.DataFrame, contract: Contract, path: Path) -> None:
    """Warn about columns of a new file that are unknown to training; they are ignored."""
    known = {*contract["unused"], *(column["name"] for column in contract["columns"])}
    surplus = [str(name) for name in table.columns if name not in known]
    if surplus:
        listed = ", ".join(f"'{name}'" for name in surplus[:5]) + (" …" if surplus[5:] else "")
        log.warning("%s: ignoring %d column(s) unknown to training: %s", path, len(surplus), listed)


def warn_about_missing(rows: Tensor | Columns, contract: Contract, path: Path) -> None:
    """Warn about missing values of a new file that are filled in."""
    if not isinstance(rows, Tensor):
        return
    gaps = rows.isnan().sum(dim=0).tolist()
    found = zip(contract["columns"], gaps, strict=True)
    counts = {column["name"]: count for column, count in found if count}
    filled = [f"'{name}' ({count})" for name, count in counts.items()]
    if filled:
        log.warning("%s: missing values are filled in as in training: %s", path, ", ".join(filled))


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
            category that is unknown to training, where no training row had one and it is not
            allowed.
    """
    names = [*dict.fromkeys(column["name"] for column in contract["columns"])]
    absent = [name for name in names if name not in table.columns]
    if absent:
        listed = ", ".join(f"'{name}'" for name in absent[:5]) + (" …" if absent[5:] else "")
        hint = did_you_mean(absent[0], [str(c) for c in table.columns if c not in names])
        raise MlrunError(
            f"{path}: {len(absent)} of the model's {len(names)} columns are missing: "
            f"{listed}.{hint}"
        )
    parts = [
        _raw_column(table[column["name"]], column, contract["na_values"], path, allow_unknown)
        for column in contract["columns"]
    ]
    if len(table) * len(parts) > MOST_IN_MEMORY:
        return Columns(parts, memory_budget=memory_budget)
    return torch.from_numpy(np.stack(parts, axis=1))


def _raw_column(
    values: pd.Series,
    column: Mapping[str, Any],
    words: Mapping[str, Sequence[str]],
    path: Path,
    allow_unknown: bool,
) -> NDArray[np.float64]:
    fill, levels, date = column["fill"], column["categories"], column["date"]
    if date is not None:
        numbers = _date_numbers(values, date, words["numbers"], path)
    elif levels is None:
        form = format_of(column["format"])
        numbers = as_numbers(values, path, form=form, na_values=words["numbers"])
    else:
        numbers = codes(values, levels, words["texts"])
    refuse_missing(numbers, values, path, allowed=fill is not None)
    unknown = np.array([]) if levels is None else np.flatnonzero(numbers == len(levels))
    if unknown.size:
        allowed = allow_unknown or column["knows_unknown"]
        _tell_unknown(values, levels, unknown, path, allowed=allowed)
    return numbers


def _date_numbers(
    values: pd.Series, date: Mapping[str, Any], words: Sequence[str], path: Path
) -> NDArray[np.float64]:
    numbers = date_part(values.to_numpy(), date["format"], date["part"])
    if not np.isnan(numbers).any():
        return numbers
    wrong = np.isnan(numbers) & ~missing_among(values.to_numpy(object), words)
    if wrong.any():
        at = int(wrong.argmax())
        raise MlrunError(
            f"{position(values, at, path)}: '{values.iloc[at]}' is not a date as in training "
            f"({date['format']})"
        )
    return numbers


def _tell_unknown(
    values: pd.Series, levels: Sequence[str], at: NDArray[np.int64], path: Path, *, allowed: bool
) -> None:
    first = str(values.iloc[at[0]])
    more = f" (and {len(at) - 1} more rows)" if len(at) > 1 else ""
    what = f"{position(values, int(at[0]), path)}: category '{first}' is unknown to training{more}"
    if allowed:
        log.warning("%s; treated as %s", what, UNKNOWN)
        return
    listed = ", ".join(levels[:6]) + (" …" if levels[6:] else "")
    hint = did_you_mean(first, levels)
    raise MlrunError(f"{what}; known: {listed}; --allow-unknown maps it to {UNKNOWN}.{hint}")
