"""A finished run as an object: its scores, its history, its predictions, as tables."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mlrun.errors import MlrunError
from mlrun.runs.folder import RunFolder, open_run
from mlrun.runs.inference import evaluate, predicted
from mlrun.runs.predictions import predictions_table
from mlrun.system.process_state import restored

Data = pd.DataFrame | str | Path  # rows: a table, or a file


@dataclass(frozen=True)
class Run:
    """A run folder.

    Args:
        path: the folder.
    """

    path: Path

    @property
    def record(self) -> dict[str, Any]:
        """What run.json holds; docs/run-folder.md lists its keys."""
        return self._folder.record

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Part of the data (train, valid, test, out_of_fold) → scores of the best epoch."""
        return self._folder.entry("metrics", dict)

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch, as in metrics.csv; of several members, with a column `member`."""
        members = sorted(self.path.glob("members/*/metrics.csv"))
        if not members:
            return pd.read_csv(self.path / "metrics.csv")
        tables = {file.parent.name: pd.read_csv(file) for file in members}
        return pd.concat(tables, names=["member", None]).reset_index("member")

    def evaluate(
        self, data: Data | None = None, *, allow_unknown: bool = False
    ) -> dict[str, dict[str, float]]:
        """Score the best model, or what several members predict together.

        Args:
            data: rows with targets; the run's own if not given.
            allow_unknown: take categories that training never saw as unknown.

        Returns:
            Part of the data (`input` for rows of your own) → scores.

        Raises:
            MlrunError: the data does not fit, or the run's own is gone or has changed.
        """
        with restored(), self._as_file(data) as file:
            return evaluate(str(self.path), input=file, allow_unknown=allow_unknown)

    def predict(
        self, data: Data | None = None, *, proba: bool = False, allow_unknown: bool = False
    ) -> pd.DataFrame:
        """The predictions for rows, as pred.csv has them.

        Args:
            data: rows, with columns in any order; the run's own test rows if not given.
            proba: add a column for the probability of each class.
            allow_unknown: take categories that training never saw as unknown.

        Returns:
            (n, 2) what names each row and its prediction: a number in the target's unit, or a
            class label as text; with `proba` also (n, classes) `probability_<class>`.

        Raises:
            MlrunError: the data does not fit, or there are no classes.
        """
        with restored(), self._as_file(data) as file:
            folder = self._folder
            ensemble, ids, found = predicted(folder, file, data=None, allow_unknown=allow_unknown)
        if proba and found.probabilities is None:
            raise MlrunError(f"'{ensemble.spec.target}' is a number: there are no probabilities")
        shares = found.probabilities if proba else None
        return predictions_table(ensemble.spec, ids, found.predictions, shares)

    @property
    def _folder(self) -> RunFolder:
        return open_run(self.path)

    @contextmanager
    def _as_file(self, data: Data | None) -> Iterator[str | None]:
        """A table as a file, so that it is read, checked and normalised as any file is."""
        if not isinstance(data, pd.DataFrame):
            yield None if data is None else str(data)
            return
        settings = self.record.get("config", {}).get("data", {})
        comma = settings.get("decimal") == "comma"
        separator, decimal = (";", ",") if comma else (",", ".")
        with tempfile.TemporaryDirectory(prefix="mlrun-") as folder:
            file = Path(folder, "rows.csv")
            data.to_csv(file, index=False, sep=separator, decimal=decimal)
            try:
                yield str(file)
            except MlrunError as error:
                raise MlrunError(str(error).replace(str(file), "the table")) from error
