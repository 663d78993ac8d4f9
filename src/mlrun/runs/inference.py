"""evaluate and predict: a run's model or ensemble on its own data or on a new file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from mlrun.config.schema import settings_of
from mlrun.data.dataset import Dataset
from mlrun.data.remote_file import local_copy
from mlrun.data.rows import Rows
from mlrun.errors import MlrunError
from mlrun.runs.data import load_run_data
from mlrun.runs.ensemble import (
    MEMBERS_FOLDER,
    Ensemble,
    EnsemblePrediction,
    combined,
    combined_by_row,
    open_ensemble,
    scores_of,
    scores_together,
)
from mlrun.runs.folder import RunFolder, open_run
from mlrun.runs.predictions import members_csv, predictions_csv, warn_of_control_characters
from mlrun.runs.predictor import scored_parts
from mlrun.system.files import output_errors, replaced, written


def evaluate(
    folder: str,
    *,
    input: str | None = None,
    data: str | None = None,
    allow_unknown: bool = False,
) -> dict[str, dict[str, float]]:
    """Score the best model of a run, or its ensemble.

    Args:
        folder: the run folder.
        input: a file with targets; default: the run's own train, valid and test rows, or with
            folds out_of_fold and test.
        data: a folder with the run's data files, if they were moved.
        allow_unknown: map categories unknown to training to the bucket for unknown ones.

    Returns:
        Part of the data → scores; for a single model, the loss is first.

    Raises:
        MlrunError: there is no such run, its data is missing or has changed, or the file does not
            fit.
    """
    run = open_run(folder)
    ensemble = open_ensemble(run)
    if input is not None:
        rows = ensemble.read(local_copy(input), allow_unknown=allow_unknown)
        if rows[0].targets is None:
            wanted = f"{input} has no target column '{ensemble.spec.target}'"
            raise MlrunError(rows[0].no_targets or wanted)
        return {"input": _scores(ensemble, rows)}
    datasets = own_data(run, ensemble, data)
    if len(ensemble.members) > 1:
        return scores_of(ensemble.members, datasets)
    parts = scored_parts(datasets[0], settings_of(ensemble.values).trainer)
    return {name: _scores(ensemble, [rows]) for name, rows in parts.items()}


def _scores(ensemble: Ensemble, rows: Sequence[Rows]) -> dict[str, float]:
    if len(ensemble.members) == 1:
        return ensemble.members[0].score(rows[0]).values
    assert rows[0].targets is not None
    together = combined(ensemble.members, ensemble.outputs(rows))
    return scores_together(ensemble.members[0].objective, rows[0].targets, together)


def own_data(run: RunFolder, ensemble: Ensemble, data: str | None) -> list[Dataset]:
    """Load the data of each member, once per split and preprocessing.

    Raises:
        MlrunError: the data is missing or has changed.
    """
    runs = [run.path / MEMBERS_FOLDER / name for name in ensemble.names]
    opened = [open_run(path) for path in runs] if len(runs) > 1 else [run]
    read: dict[str, Dataset] = {}
    found = []
    for one, member in zip(opened, ensemble.members, strict=True):
        dataset = load_run_data(one, ensemble.values, member.contract, data=data, read=read)
        found.append(dataset)
    return found


def predict(
    folder: str,
    *,
    input: str | None = None,
    output: str | None = None,
    data: str | None = None,
    proba: bool = False,
    members: bool = False,
    allow_unknown: bool = False,
    guard_formulas: bool = False,
) -> Path:
    """Write the predictions of a run and return the path of the file.

    Args:
        folder: the run folder.
        input: a file of new rows; default: the rows of the run's own pred.csv.
        output: the file to write, "-" for standard output; default: `pred.csv` or
            `pred_<input>.csv` in the run folder.
        data: a folder with the run's data files, if they were moved.
        proba: add a column with the probability of each class.
        members: write each member's prediction and their disagreement instead; default output:
            `pred_members.csv` or `pred_members_<input>.csv`.
        allow_unknown: map categories unknown to training to the bucket for unknown ones.
        guard_formulas: prefix texts that a spreadsheet would run with an apostrophe.

    Raises:
        MlrunError: like `evaluate`; or the task has no probabilities, or the output cannot be
            written.
    """
    run, guard = open_run(folder), guard_formulas
    target = _target(run, input, output, members)
    ensemble, ids, together = predicted(run, input, data=data, allow_unknown=allow_unknown)
    if members and not len(together.each):
        raise MlrunError(
            f"{run.path}: its members predict different rows; use --members with --input FILE"
        )
    if proba and together.probabilities is None:
        raise MlrunError(f"'{ensemble.spec.target}' is a number, so it has no probabilities")
    warn_of_control_characters(ensemble.spec, ids)
    if members:
        each = dict(zip(ensemble.names, together.each, strict=True))
        content = members_csv(ensemble.spec, ids, each, together.disagreement, guard=guard)
    else:
        shares, values = together.probabilities if proba else None, together.predictions
        content = predictions_csv(ensemble.spec, ids, values, probabilities=shares, guard=guard)
    with output_errors(target), replaced(target) if output is None else written(target) as file:
        file.write(content)
    return target


def predicted(
    run: RunFolder, input: str | None, *, data: str | None, allow_unknown: bool
) -> tuple[Ensemble, Sequence[Any], EnsemblePrediction]:
    """Return models, row ids and predictions of a run; the arguments are those of `predict`."""
    ensemble = open_ensemble(run)
    if input is not None:
        rows = ensemble.read(local_copy(input), allow_unknown=allow_unknown)
    else:
        rows = [dataset.predict for dataset in own_data(run, ensemble, data)]
    outputs = ensemble.outputs(rows)
    for output, part in zip(outputs, rows, strict=True):
        _check_finite(output, part, input or run.path)
    return ensemble, *combined_by_row(ensemble.members, rows, outputs)


def _target(run: RunFolder, input: str | None, output: str | None, members: bool) -> Path:
    """Return the path of the predictions."""
    parts = ["pred"] + ["members"] * members + ([Path(input).name.split(".")[0]] if input else [])
    target = run.path / f"{'_'.join(parts)}.csv" if output is None else Path(output)
    if input is not None and target.is_file() and Path(input).exists() and target.samefile(input):
        raise MlrunError(f"--output {target} is the input file; choose another file")
    return target


def _check_finite(outputs: Tensor, rows: Rows, source: str | Path) -> None:
    bad = ~outputs.isfinite().all(dim=1)
    if bad.any():
        row = rows.ids[int(bad.int().argmax())]
        raise MlrunError(
            f"{source}: the prediction for row '{row}' is not finite; are its values much "
            "larger than those in training?"
        )
