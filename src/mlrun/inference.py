"""evaluate and predict: a run folder's model on its own data or on a new file."""

from pathlib import Path

from omegaconf import DictConfig
from torch import Tensor

from mlrun.build import build
from mlrun.config import settings_of
from mlrun.data.spec import Rows
from mlrun.errors import MlrunError
from mlrun.loop import Scores
from mlrun.predictions import write_predictions
from mlrun.run_data import load_run_data
from mlrun.run_folder import open_run
from mlrun.trained import Trained, open_trained, scored_parts


def evaluate(
    folder: str,
    *,
    input: str | None = None,
    data: str | None = None,
    allow_unknown: bool = False,
) -> dict[str, Scores]:
    """Score a run's best model.

    Args:
        folder: the run folder.
        input: a file with targets; the run's own train, validation and test rows if not given.
        data: where the run's own data files are now, if not where they were.
        allow_unknown: take categories that training never saw for the bucket of such.

    Returns:
        Part of the data → scores.

    Raises:
        MlrunError: no such run, its data is gone or has changed, or the file does not fit.
    """
    run = open_run(folder)
    trained, config = open_trained(run)
    if input is not None:
        rows = _read(config, trained, Path(input), allow_unknown)
        if rows.targets is None:
            raise MlrunError(f"{input} has no column '{trained.spec.target}' to compare with")
        return {"input": trained.score(rows)}
    dataset = load_run_data(run, config, trained.contract, data=data)
    parts = scored_parts(dataset, settings_of(config).trainer)
    return {name: trained.score(rows) for name, rows in parts.items()}


def predict(
    folder: str,
    *,
    input: str | None = None,
    output: str | None = None,
    data: str | None = None,
    proba: bool = False,
    allow_unknown: bool = False,
) -> Path:
    """Write a run's predictions and return their place.

    Args:
        folder: the run folder.
        input: a file of new rows; the rows of the run's own pred.csv if not given.
        output: where to; `pred.csv`, or `pred_<input>.csv`, in the run folder if not given.
        data: where the run's own data files are now, if not where they were.
        proba: add a column for the probability of each class.
        allow_unknown: take categories that training never saw for the bucket of such.

    Raises:
        MlrunError: as `evaluate`; no classes to give probabilities of; the output cannot be
            written.
    """
    run = open_run(folder)
    trained, config = open_trained(run)
    if input is not None:
        rows = _read(config, trained, Path(input), allow_unknown)
        target = run.path / f"pred_{Path(input).name.split('.')[0]}.csv"
    else:
        rows, target = (
            load_run_data(run, config, trained.contract, data=data).predict,
            run.predictions,
        )
    target = Path(output) if output is not None else target
    if input is not None and target.exists() and target.samefile(input):
        raise MlrunError(f"--output {target} is the input; say another file")
    outputs = trained.outputs(rows)
    _check_finite(outputs, rows, input or run.path)
    predictions = trained.objective.decode(outputs)
    probabilities = trained.objective.probabilities(outputs) if proba else None
    try:
        write_predictions(target, trained.spec, rows.ids, predictions, probabilities=probabilities)
    except OSError as error:
        raise MlrunError(f"cannot write {target}: {error.strerror}; see --output") from None
    return target


def _check_finite(outputs: Tensor, rows: Rows, source: str | Path) -> None:
    bad = ~outputs.isfinite().all(dim=1)
    if bad.any():
        row = rows.ids[int(bad.int().argmax())]
        raise MlrunError(
            f"{source}: the prediction of row '{row}' is no finite number; are its values far "
            "larger than those the model was trained on?"
        )


def _read(config: DictConfig, trained: Trained, path: Path, allow_unknown: bool) -> Rows:
    source = build("data", config)
    rows: Rows = source.read_file(path, trained.contract, trained.spec, allow_unknown=allow_unknown)
    return rows
