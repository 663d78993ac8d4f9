"""Turn the rows of a file into the inputs of an exported model, as in training.

Exported models come with the source of this module; it needs only NumPy and pandas.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlrun.data.categories import codes
from mlrun.data.dates import date_part
from mlrun.data.number_format import format_of, missing_among, without_missing


def read_texts(path: str, separator: str = ",") -> pd.DataFrame:
    """Read a CSV file as texts: only an empty cell is missing."""
    return pd.read_csv(
        path,
        sep=separator,
        dtype=str,
        keep_default_na=False,
        na_values=[""],
        skipinitialspace=True,
        index_col=False,
    )


def raw_inputs(table: pd.DataFrame, contract: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return (rows, columns): numbers, and categories as indices; NaN for a missing value."""
    words = contract["na_values"]
    return np.stack([_values(table, column, words) for column in contract["columns"]], axis=1)


def column_inputs(
    table: pd.DataFrame, contract: Mapping[str, Any]
) -> dict[str, NDArray[np.float64] | NDArray[np.object_]]:
    """Return the inputs of an ONNX file: column → (rows, 1) numbers, or texts of categories."""
    return by_column(raw_inputs(table, contract), contract)


def by_column(
    rows: NDArray[np.float64], contract: Mapping[str, Any]
) -> dict[str, NDArray[np.float64] | NDArray[np.object_]]:
    """Return raw rows (n, columns) as the inputs of an ONNX file."""
    inputs: dict[str, Any] = {}
    for column, values in zip(contract["columns"], rows.T, strict=True):
        levels = column["categories"]
        inputs[input_name(column)] = values if levels is None else _texts(values, levels)
    return {name: values.reshape(-1, 1) for name, values in inputs.items()}


def input_name(column: Mapping[str, Any]) -> str:
    """Return the name of the input for a column of the contract: for a date, also its part."""
    name = str(column["name"])
    return name if column["date"] is None else f"{name}.{column['date']['part']}"


def _values(
    table: pd.DataFrame, column: Mapping[str, Any], words: Mapping[str, Any]
) -> NDArray[np.float64]:
    cells = table[column["name"]]
    if column["date"] is not None:
        return date_part(cells.to_numpy(), column["date"]["format"], column["date"]["part"])
    if column["categories"] is not None:
        return codes(cells, column["categories"], words["texts"])
    if pd.api.types.is_numeric_dtype(cells):
        typed: NDArray[np.float64] = cells.to_numpy(np.float64, na_value=np.nan)
        return without_missing(typed, words["numbers"])
    texts = cells.to_numpy(object)
    numbers = format_of(column["format"]).parse(texts)
    missing = missing_among(texts, words["numbers"])
    if (~np.isfinite(numbers) & ~missing).any():
        row = int((~np.isfinite(numbers) & ~missing).argmax())
        raise ValueError(f"row {row + 1}, column '{column['name']}': {texts[row]!r} is no number")
    return without_missing(np.where(missing, np.nan, numbers), words["numbers"])


def _texts(indices: NDArray[np.float64], levels: list[str]) -> NDArray[np.object_]:
    """Return the levels; "" for a missing one, and a text that is no level for an unknown one."""
    unknown = "?" * (1 + max(map(len, levels), default=0))
    texts = [*levels, unknown]
    words = ["" if np.isnan(index) else texts[int(index)] for index in indices]
    return np.array(words, dtype=object)
