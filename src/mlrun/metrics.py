"""Scores of predictions, by scikit-learn, on all rows at once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn import metrics as sk
from torch import Tensor

from mlrun.data.spec import REGRESSION, Spec
from mlrun.errors import MlrunError, did_you_mean

NAMES = {
    REGRESSION: ("mse", "rmse", "mae", "r2"),
    "classification": ("accuracy", "macro_f1"),
}
HIGHER_IS_BETTER = {"r2", "accuracy", "macro_f1"}


def scores(spec: Spec, targets: Tensor, predictions: Tensor) -> dict[str, float]:
    """The task's metrics.

    Args:
        spec: tells regression from classification.
        targets: (n, 1) values or (n,) class numbers, n at least 1.
        predictions: of the same shape.
    """
    truth, guess = targets.numpy().ravel(), predictions.numpy().ravel()
    if spec.kind == REGRESSION:
        truth, guess = truth.astype(np.float64), guess.astype(np.float64)
        if not np.isfinite(guess).all():  # scikit-learn would raise
            return dict.fromkeys(NAMES[REGRESSION], float("nan"))
        mse = float(sk.mean_squared_error(truth, guess))
        return {
            "mse": mse,
            "rmse": mse**0.5,
            "mae": float(sk.mean_absolute_error(truth, guess)),
            "r2": float(sk.r2_score(truth, guess)) if len(truth) > 1 else float("nan"),
        }
    return {
        "accuracy": float(sk.accuracy_score(truth, guess)),
        "macro_f1": float(sk.f1_score(truth, guess, average="macro", zero_division=0.0)),
    }


def class_accuracy(spec: Spec, targets: Tensor, predictions: Tensor) -> dict[str, float]:
    """Of each class's rows, the share that was recognised; classes without rows are left out."""
    truth, guess = targets.numpy(), predictions.numpy()
    present = sorted(set(truth.tolist()))
    shares = sk.recall_score(truth, guess, labels=present, average=None, zero_division=0.0)
    return {
        spec.classes[number]: float(share) for number, share in zip(present, shares, strict=True)
    }


def higher_is_better(monitor: str, mode: str) -> bool:
    """Whether the monitored score is to rise: as `mode` says, or known by the metric."""
    return mode == "max" or (mode == "auto" and monitor.removeprefix("valid/") in HIGHER_IS_BETTER)


def check_monitor(monitor: str, spec: Spec) -> None:
    """Refuse to monitor what this kind of task does not score.

    Raises:
        MlrunError: with the scores there are.
    """
    known = [f"valid/{name}" for name in ("loss", *NAMES[spec.kind])]
    if monitor not in known:
        hint = did_you_mean(monitor, known)
        raise MlrunError(
            f"trainer.monitor={monitor}: a {spec.kind} task has {', '.join(known)}.{hint}"
        )


def shown(values: Mapping[str, Any]) -> str:
    """Scores as one line of text, e.g. `loss 0.1234  accuracy 0.9876`."""
    digits = {name: 4 if abs(value) < 1000 else 1 for name, value in values.items()}
    return "  ".join(f"{name} {value:.{digits[name]}f}" for name, value in values.items())
