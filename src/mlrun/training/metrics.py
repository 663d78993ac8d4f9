"""Metrics over all rows at once; scikit-learn's would take longer than an epoch."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
SIZE = "parameters"  # not a score, but an objective to minimise
HIGHER_IS_BETTER = {"r2", "accuracy", "macro_f1"}


def scores(spec: Spec, targets: Tensor, predictions: Tensor) -> dict[str, float]:
    """Return the metrics of the task, as scikit-learn defines them.

    Args:
        spec: determines regression or classification.
        targets: (n, 1) values or (n,) class numbers, n at least 1.
        predictions: same shape as targets.
    """
    return scorer(spec, targets)(predictions)


def scorer(spec: Spec, targets: Tensor) -> Callable[[Tensor], dict[str, float]]:
    """Return a function that computes `scores` repeatedly for the same rows."""
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
    """Return the recall of each class, without classes that have no rows."""
    hits, rows, _ = _counts(spec, targets.numpy(), predictions.numpy())
    return {
        spec.classes[number]: float(hits[number] / rows[number]) for number in np.flatnonzero(rows)
    }


def _counts(spec: Spec, truth: Classes, guess: Classes) -> tuple[Classes, Classes, Classes]:
    """Return per class: number of correct predictions, rows, predictions."""
    count = len(spec.classes)
    of = (truth[truth == guess], truth, guess)
    hits, rows, guesses = (np.bincount(numbers, minlength=count) for numbers in of)
    return hits, rows, guesses


def higher_is_better(monitor: str, mode: str, own: Mapping[str, Any] | None = None) -> bool:
    """Whether a higher score is better, by `mode` or by the metric.

    Args:
        monitor: the score, e.g. `valid/r2`.
        mode: min, max or auto.
        own: name → node of the user's own metrics.
    """
    name = monitor.removeprefix("valid/")
    if mode != "auto":
        return mode == "max"
    if own and name in own:
        return bool(own[name]["higher_is_better"])
    return name in HIGHER_IS_BETTER


def check_objectives(names: Sequence[str], own: Sequence[str] = ()) -> None:
    """Check that some kind of task has these objectives.

    Args:
        names: the objectives.
        own: the names of the user's own metrics.

    Raises:
        MlrunError: naming the valid objectives.
    """
    scores = dict.fromkeys([*(name for names in NAMES.values() for name in names), *own])
    known = [*(f"valid/{name}" for name in ("loss", *scores)), SIZE]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise MlrunError(
                f"sweep.objectives: unknown '{name}'; valid: {', '.join(known)}.{hint}"
            )


def check_scores(
    key: str, names: Sequence[str], spec: Spec, *others: str, own: Iterable[str] = ()
) -> None:
    """Check that this kind of task has these scores.

    Args:
        key: the setting, for messages.
        names: its scores.
        spec: the spec of the task.
        others: further valid names.
        own: the names of the user's own metrics.

    Raises:
        MlrunError: naming the valid scores.
    """
    known = [*(f"valid/{name}" for name in ("loss", *NAMES[spec.kind], *own)), *others]
    for name in names:
        if name not in known:
            hint = did_you_mean(name, known)
            raise MlrunError(f"{key}={name}: a {spec.kind} task has {', '.join(known)}.{hint}")


def shown(values: Mapping[str, Any]) -> str:
    """Format scores as one line, e.g. `loss 0.1234  accuracy 0.9876`; None: not defined."""
    return "  ".join(f"{name} {_shown(value)}" for name, value in values.items())


def shown_spread(mean: float, deviation: float) -> str:
    """Format a score of several models, e.g. `0.1234 ± 0.0012`."""
    defined = math.isfinite(mean)
    return f"{_shown(mean)} ± {_shown(deviation)}" if defined else _shown(mean)


def _shown(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "not defined"
    return f"{value:.{4 if abs(value) < 1000 else 1}f}"
