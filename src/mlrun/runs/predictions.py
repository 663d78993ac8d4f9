"""The content of pred.csv: the id and the prediction of each row."""

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from mlrun.data.dataset import Spec
from mlrun.system.files import csv_rows
from mlrun.system.plain_text import plain

log = logging.getLogger(__name__)


def predictions_csv(
    spec: Spec,
    ids: Sequence[Any],
    predictions: Tensor,
    *,
    probabilities: Tensor | None = None,
    guard: bool = False,
) -> bytes:
    """Return one row per prediction.

    Args:
        spec: has the header and the class labels.
        ids: the id of each row.
        predictions: (n, 1) values or (n,) class numbers.
        probabilities: (n, classes), written as columns `probability_<class>`.
        guard: see `guarded`.
    """
    header = [*spec.header]
    columns = [ids, _readable(spec, predictions)]
    if probabilities is not None:
        header += [f"probability_{label}" for label in spec.classes]
        columns += [map(str, column) for column in probabilities.numpy().astype(np.float32).T]
    return _csv(header, columns, guard=guard)


def members_csv(
    spec: Spec,
    ids: Sequence[Any],
    each: Mapping[str, Tensor],
    disagreement: Tensor,
    *,
    guard: bool = False,
) -> bytes:
    """Return every member's prediction for each row, and the disagreement.

    Args:
        spec: has the name of the id column and the class labels.
        ids: the id of each row.
        each: member → (n,) values or class numbers.
        disagreement: (n,) standard deviation of values, or fraction of members with other classes.
        guard: see `guarded`.
    """
    columns = [ids, *(_readable(spec, e) for e in each.values())]
    columns.append(map(str, disagreement.numpy().astype(np.float32)))
    names = map(guarded, each)  # names of folders, which may come from a stranger
    return _csv([spec.header[0], *names, "disagreement"], columns, guard=guard)


def _csv(header: Sequence[str], columns: Sequence[Iterable[Any]], *, guard: bool) -> bytes:
    rows: Iterable[Sequence[Any]] = chain([header], zip(*columns, strict=True))
    if guard:
        rows = ([guarded(cell) for cell in row] for row in rows)
    return csv_rows(rows).encode()


def warn_of_control_characters(spec: Spec, ids: Iterable[Any]) -> None:
    """Warn that some ids or labels are not written as they are, see `csv_rows`."""
    texts = ",".join(map(str, (*spec.header, *spec.classes, *ids)))
    if plain(texts) != texts:
        log.warning("ids or labels have control characters, written as \\x1b and the like")


def predictions_table(
    spec: Spec, ids: Sequence[Any], predictions: Tensor, probabilities: Tensor | None = None
) -> pd.DataFrame:
    """Return the rows of `predictions_csv` as a table: float64 values or class labels."""
    values = predictions.flatten().double().numpy()
    columns: dict[str, Any] = {spec.header[0]: list(ids)}
    columns[spec.header[1]] = [spec.classes[int(n)] for n in values] if spec.classes else values
    if probabilities is not None:
        shares = zip(spec.classes, probabilities.double().numpy().T, strict=True)
        columns |= {f"probability_{label}": share for label, share in shares}
    return pd.DataFrame(columns)


def _readable(spec: Spec, predictions: Tensor) -> Iterator[str]:
    if spec.classes:
        return (spec.classes[number] for number in predictions.tolist())
    return map(str, _rounded(predictions.double().numpy().ravel(), spec))


def _rounded(values: NDArray[np.float64], spec: Spec) -> NDArray[np.floating[Any]]:
    """Return values whose shortest text has the digits that the outputs of the model have.

    These are float32; beside a large center they are rounded to a millionth of the target's spread.
    """
    if np.finfo(np.float32).eps * abs(spec.target_center) <= 1e-5 * spec.target_scale:
        return values.astype(np.float32)
    return values.round(math.ceil(6 - math.log10(spec.target_scale)))


def guarded(cell: Any) -> Any:
    """Prefix text that a spreadsheet would run as a formula with an apostrophe.

    Otherwise ids and labels are written as they are: a submission must have -bQ1, not '-bQ1.
    """
    if isinstance(cell, str) and cell[:1] in {"=", "+", "-", "@", "\t", "\r"} and not _number(cell):
        return "'" + cell
    return cell


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
