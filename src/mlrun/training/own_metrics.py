"""The user's own metrics: functions or classes that conf/metric names."""

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlrun.config.allowlist import resolve
from mlrun.config.build import plain
from mlrun.config.schema import own_metrics
from mlrun.config.signature import check_arguments
from mlrun.data.dataset import CLASSIFICATION, Spec
from mlrun.errors import MlrunError
from mlrun.training.metrics import NAMES, SIZE

Array = NDArray[Any]
SHARES = "probabilities"  # the name of a third argument


@dataclass(frozen=True)
class OwnMetric:
    """A metric of the user."""

    name: str
    compute: Callable[..., Any]
    takes_probabilities: bool

    def __call__(self, targets: Array, predictions: Array, probabilities: Array | None) -> float:
        """Return the score of (n,) predictions.

        Args:
            targets: (n,) float64 values in the target's unit, or int64 class numbers.
            predictions: like the targets.
            probabilities: (n, classes); None for a regression.

        Raises:
            MlrunError: it raised an error, or returned something else than a number.
        """
        named = {SHARES: probabilities} if self.takes_probabilities else {}
        try:
            found = self.compute(targets, predictions, **named)
        except Exception as error:
            raise MlrunError(f"metric.{self.name}: {_described(error)}") from error
        try:
            return float(found)
        except (TypeError, ValueError):
            kind = type(found).__name__
            shape = f" of shape {found.shape}" if isinstance(found, np.ndarray) else ""
            raise MlrunError(
                f"metric.{self.name}: must return a number, not {kind}{shape}"
            ) from None


def build_metrics(values: Mapping[str, Any], spec: Spec) -> tuple[OwnMetric, ...]:
    """Build the configured metrics.

    Raises:
        MlrunError: a name is taken, a class or function is not allowed, or its settings do not
            fit.
    """
    return tuple(_built(name, node, spec) for name, node in own_metrics(values).items())


def _built(name: str, node: Mapping[str, Any], spec: Spec) -> OwnMetric:
    key, taken = f"metric.{name}", ("loss", SIZE, *(one for some in NAMES.values() for one in some))
    if name in taken:
        raise MlrunError(f"{key}: this name belongs to a built-in score; choose another one")
    wanted = {k: v for k, v in plain(node).items() if k != "higher_is_better"}
    kind = resolve("metric", wanted)
    settings = {k: v for k, v in wanted.items() if k != "_target_"}
    compute = _configured(key, kind, settings)
    parameters = inspect.signature(compute).parameters
    shares = SHARES in parameters
    if shares and spec.kind != CLASSIFICATION:
        shares = False
        if parameters[SHARES].default is inspect.Parameter.empty:
            raise MlrunError(f"{key} needs probabilities, which a {spec.kind} does not have")
    return OwnMetric(name, compute, shares)


def _configured(key: str, kind: Any, settings: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function with its settings, or an object of the class."""
    if not isinstance(kind, type):
        awaited = [*inspect.signature(kind).parameters][:2]
        if len(awaited) < 2:
            raise MlrunError(f"{key}: {kind.__name__} must take targets and predictions")
        check_arguments(key, kind, settings, given=[*awaited, SHARES])
        return partial(kind, **settings)
    check_arguments(key, kind, settings)
    try:
        made = kind(**settings)
    except Exception as error:
        raise MlrunError(f"{key}: {_described(error)}") from error
    if not callable(made):
        raise MlrunError(f"{key}: {kind.__name__} needs a method __call__(targets, predictions)")
    return made  # type: ignore[no-any-return]


def rehearse_metric(metric: OwnMetric, targets: Array, classes: int) -> None:
    """Try a metric on the validation rows, with the targets in reverse order as predictions.

    Raises:
        MlrunError: see `OwnMetric`.
    """
    guess = targets[::-1].copy()
    shares = (np.eye(classes)[guess] + 1 / classes) / 2 if classes else None
    with np.errstate(all="ignore"):
        metric(targets, guess, shares)


def _described(error: Exception) -> str:
    """Return the error and its place in the user's file."""
    frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename != __file__]
    place = f" ({frames[0].filename}, line {frames[0].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}{place}"
