"""pred.csv: what names the row, and what the model says of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from mlrun.data.spec import Spec
from mlrun.run_folder import csv_rows, write_atomically


def write_predictions(path: Path, spec: Spec, ids: Sequence[Any], predictions: Tensor) -> None:
    """Write one row per prediction, whole or not at all.

    Args:
        path: the CSV file.
        spec: the header, and the labels of the classes.
        ids: what names each row.
        predictions: (n, 1) values or (n,) class numbers.
    """
    cells = zip(map(_harmless, ids), map(_harmless, _readable(spec, predictions)), strict=True)
    write_atomically(path, csv_rows([spec.header, *cells]).encode())


def _readable(spec: Spec, predictions: Tensor) -> list[str]:
    if spec.classes:
        return [spec.classes[number] for number in predictions.tolist()]
    # As float32 the shortest text that reads back as the same number.
    return [str(value) for value in predictions.numpy().astype(np.float32).ravel()]


def _harmless(cell: Any) -> Any:
    """Text that a spreadsheet would run as a formula gets an apostrophe; numbers stay."""
    if isinstance(cell, str) and cell[:1] in {"=", "+", "-", "@", "\t", "\r"} and not _number(cell):
        return "'" + cell
    return cell


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
