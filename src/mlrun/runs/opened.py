"""A finished run as an object with scores, history and predictions."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_datetime64_any_dtype, is_numeric_dtype

from mlrun.config.allowlist import allowing
from mlrun.errors import MlrunError
from mlrun.runs.ensemble import member_runs
from mlrun.runs.folder import RunFolder, open_run
from mlrun.runs.inference import evaluate, predicted
from mlrun.runs.predictions import predictions_table
from mlrun.system.no_links import opened
from mlrun.system.process_state import restored

Data = pd.DataFrame | str | Path  # rows as a table or a file


@dataclass(frozen=True)
class Run:
    """A run folder.

    Args:
        path: the folder.
        allow: your own classes that its configuration may name.
    """

    path: Path
    allow: tuple[str, ...] = ()

    @property
    def record(self) -> dict[str, Any]:
        """The content of run.json; docs/run-folder.md lists its keys."""
        return self._folder.record

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Part of the data (train, valid, test, out_of_fold) → scores of the best epoch."""
        return self._folder.entry("metrics", dict)

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch, as in metrics.csv; for an ensemble with a column `member`."""
        run = self._folder
        members = [member for member in member_runs(run) if member.metrics.is_file()]
        if not members:
            return _history(run)
        tables = {member.path.name: _history(member) for member in members}
        return pd.concat(tables, names=["member", None]).reset_index("member")

    def evaluate(
        self, data: Data | None = None, *, allow_unknown: bool = False
    ) -> dict[str, dict[str, float]]:
        """Score the best model or the ensemble.

        Args:
            data: rows with targets; default: the run's own.
            allow_unknown: map categories unknown to training to the bucket for unknown ones.

        Returns:
            Part of the data (`input` for rows of your own) → scores.

        Raises:
            MlrunError: the data does not fit, or the run's own data is missing or has changed.
        """
        with restored(), allowing(self.allow), self._as_file(data) as file:
            return evaluate(str(self.path), input=file, allow_unknown=allow_unknown)

    def predict(
        self, data: Data | None = None, *, proba: bool = False, allow_unknown: bool = False
    ) -> pd.DataFrame:
        """Return predictions for rows, as in pred.csv.

        Args:
            data: rows, with columns in any order; default: the rows of the run's pred.csv.
            proba: add a column with the probability of each class.
            allow_unknown: map categories unknown to training to the bucket for unknown ones.

        Returns:
            (n, 2): id and prediction of each row, a number in the target's unit or a class label
            as text; with `proba` also (n, classes) `probability_<class>`.

        Raises:
            MlrunError: the data does not fit, or the task has no probabilities.
        """
        with restored(), allowing(self.allow), self._as_file(data) as file:
            folder = self._folder
            ensemble, ids, found = predicted(folder, file, data=None, allow_unknown=allow_unknown)
        if proba and found.probabilities is None:
            raise MlrunError(f"'{ensemble.spec.target}' is a number, so it has no probabilities")
        shares = found.probabilities if proba else None
        return predictions_table(ensemble.spec, ids, found.predictions, shares)

    @property
    def _folder(self) -> RunFolder:
        return open_run(self.path)

    @contextmanager
    def _as_file(self, data: Data | None) -> Iterator[str | None]:
        """Write a table to a file, so that it is read and checked like any file."""
        if not isinstance(data, pd.DataFrame):
            yield None if data is None else str(data)
            return
        with tempfile.TemporaryDirectory(prefix="mlrun-") as folder:
            file = Path(folder, "rows.parquet")  # where numbers are numbers, however they are shown
            _write(data, file)
            try:
                yield str(file)
            except MlrunError as error:
                raise MlrunError(str(error).replace(str(file), "the table")) from error


def _write(table: pd.DataFrame, file: Path) -> None:
    """Write a table as Parquet; columns of neither numbers nor times as texts."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    columns = [pa.array(_plain(column), from_pandas=True) for _, column in table.items()]
    write_table(pa.Table.from_arrays(columns, [str(name) for name in table.columns]), file)


def _plain(column: pd.Series) -> pd.Series:
    if isinstance(column.dtype, pd.SparseDtype):
        column = pd.Series(np.asarray(column))
    if is_datetime64_any_dtype(column) or (is_numeric_dtype(column) and column.dtype.kind != "c"):
        return column
    if infer_dtype(column, skipna=True) in ("floating", "mixed-integer-float", "decimal"):
        return column.astype("float64")
    return column.map(str, na_action="ignore").astype(object)


def _history(run: RunFolder) -> pd.DataFrame:
    with opened(run.metrics) as file:
        return pd.read_csv(file)
