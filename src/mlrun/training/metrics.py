"""Scores of predictions, on all rows at once; scikit-learn's would take longer than an epoch."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mlrun.data.dataset import REGRESSION, Spec
from mlrun.errors import MlrunError, did_you_mean

Numbers = NDArray[np.float64]
Classes = NDArray[np.int64]
NAMES = {
    REGRESSION: ("mse", "rmse", "mae", "r2"),
    "classification": ("accuracy", "macro_f1"),
}
SIZE = "parameters"  # no score, but something to be small
HIGHER_IS_BETTER = {"r2", "accuracy", "macro_f1"}


def scores(spec: Spec, targets: Tensor, predictions: Tensor) -> dict[str, float]:
    """The task's metrics, as scikit-learn defines them.

    Args:
        spec: tells regression from classification.
        targets: (n, 1) values or (n,) class numbers, n at least 1.
        predictions: of the same shape.
    """
    return scorer(spec, targets)(predictions)


def scorer(spec: Spec, targets: Tensor) -> Callable[[Tensor], dict[str, float]]:
    """`scores` for predictions of the same rows, again and again."""
    truth = targets.numpy().ravel()
    if spec.kind == REGRESSION:
        return partial(_regression, truth.astype(np.float64), float(truth.var(dtype=np.float64)))
    return partial(_classification, spec, truth)


def _classification(spec: Spec, truth: Classes, predictions: Tensor) -> dict[str, float]:
    hits, rows, guesses = _counts(spec, truth, predictions.numpy())
    present = rows + guesses > 0
    f1 = 2 * hits[present] / (rows + guesses)[present]
    return {"accuracy": float(hits.sum() / len(truth)), "macro_f1": float(f1.mean())}


def _regression(truth: Numbers, variance: float, predictions: Tensor) -> dict[str, float]:
    errors = predictions.numpy().ravel() - truth
    mse = float(errors @ errors) / len(truth)
    if not math.isfinite(mse):
        return dict.fromkeys(NAMES[REGRESSION], float("nan"))
    mae = float(np.abs(errors).sum()) / len(truth)
    r2 = 1 - mse / variance if variance else float(mse == 0)
    r2 = r2 if len(truth) > 1 else float("nan")
    return {"mse": mse, "rmse": mse**0.5, "mae": mae, "r2": r2}


def class_accuracy(spec: Spec, targets: Tensor, predictions: Tensor) -> dict[str, float]:
    """Of each class's rows, the share that was recognised; classes without rows are left out."""
    hits, rows, _ = _counts(spec, targets.numpy(), predictions.numpy())
    return {
        spec.classes[number]: float(hits[number] / rows[number]) for number in np.flatnonzero(rows)
    }


def _counts(spec: Spec, truth: Classes, guess: Classes) -> tuple[Classes, Classes, Classes]:
    """Of each class: the rows that were recognised, the rows, the predictions."""
    count = len(spec.classes)
    of = (truth[truth == guess], truth, guess)
    hits, rows, guesses = (np.bincount(numbers, minlength=count) for numbers in of)
    return hits, rows, guesses


def higher_is_better(monitor: str, mode: str) -> bool:
    """Whether the monitored score is to rise: as `mode` says, or known by the metric."""
    return mode == "max" or (mode == "auto" and monitor.removeprefix("valid/") in HIGHER_IS_BETTER)


def check_objectives(names: Sequence[str]) -> None:
    """Refuse objectives that no kind of task has.

    Raises:
        MlrunError: with those there are.
    """
    scores = dict.fromkeys(name for names in NAMES.values() for name in names)
    known = [*(f"valid/{name}" for name in ("loss", *scores)), SIZE]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise MlrunError(f"sweep.objectives: no '{name}'; there are {', '.join(known)}.{hint}")


def check_scores(key: str, names: Sequence[str], spec: Spec, *others: str) -> None:
    """Refuse what this kind of task does not score.

    Args:
        key: the setting.
        names: what it asks for.
        spec: of the task.
        others: what may be asked for besides scores.

    Raises:
        MlrunError: with what there is.
    """
    known = [*(f"valid/{name}" for name in ("loss", *NAMES[spec.kind])), *others]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise MlrunError(f"{key}={name}: a {spec.kind} task has {', '.join(known)}.{hint}")


def shown(values: Mapping[str, Any]) -> str:
    """Scores as one line of text, e.g. `loss 0.1234  accuracy 0.9876`."""
    digits = {name: 4 if abs(value) < 1000 else 1 for name, value in values.items()}
    return "  ".join(f"{name} {value:.{digits[name]}f}" for name, value in values.items())
