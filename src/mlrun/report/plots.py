"""Plots of a run, with matplotlib's Figure: importing pyplot would take a second."""

import mlrun.report.matplotlib_import  # noqa: F401  before all that imports matplotlib

# isort: split
import io
import logging
import math
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from mlrun.data.dataset import REGRESSION, Spec
from mlrun.system.files import write_atomically
from mlrun.system.plain_text import one_line, plain

log = logging.getLogger(__name__)

TRAIN, VALID, BEST = "#4c72b0", "#dd8452", "#555555"
MOST_DRAWN = 20_000  # points; more would hide each other
MOST_LABELLED = 20  # classes with names and counts in the confusion matrix
LONGEST_NAME = 60  # letters of a name
CLASS_WIDTH, AXIS_WIDTH = 20, 40  # letters of a line beside an axis
LOSS = "valid/loss"
Histories = Mapping[str, Sequence[Mapping[str, Any]]]  # member → rows of metrics.csv


def draw_curve(
    folder: Path,
    history: Sequence[Mapping[str, Any]],
    best_epoch: int,
    *,
    title: str,
    monitor: str = LOSS,
    spec: Spec | None = None,
) -> None:
    """Write plots/learning_curve.png: losses and the monitored score by epoch, best epoch marked.

    Args:
        folder: the folder plots/.
        history: the rows of metrics.csv.
        best_epoch: the epoch to mark.
        title: the title.
        monitor: the monitored score; it has its own panel, unless it is the loss.
        spec: names and scale of the target, for the units.
    """
    figure, panels = _panels(history, monitor, spec, title)
    for name, axes in panels.items():
        if name == LOSS:
            _curve(axes, history, "train/loss", color=TRAIN, label="train")
        _curve(axes, history, name, color=VALID, label="valid")
        axes.axvline(best_epoch, color=BEST, linestyle=":", label=f"best epoch {best_epoch}")
        axes.legend()
    _save(figure, folder / "learning_curve.png")


def draw_curves(
    folder: Path,
    histories: Histories,
    *,
    title: str,
    monitor: str = LOSS,
    spec: Spec | None = None,
) -> None:
    """Write plots/learning_curve.png: mean and range of the members' scores by epoch.

    The arguments are those of `draw_curve`. After the first member has stopped, the mean is over
    the others and dotted.
    """
    rows = [row for history in histories.values() for row in history]
    figure, panels = _panels(rows, monitor, spec, title)
    for name, axes in panels.items():
        if name == LOSS:
            _mean_and_range(axes, histories, "train/loss", color=TRAIN, label="train")
        _mean_and_range(axes, histories, name, color=VALID, label="valid")
        axes.legend()
    _save(figure, folder / "learning_curve.png")


def draw_predictions(
    folder: Path, spec: Spec, truth: Tensor, predictions: Tensor, *, rows: str
) -> None:
    """Write plots/prediction_vs_truth.png or plots/confusion_matrix.png, by kind of task.

    Args:
        folder: the folder plots/.
        spec: has kind and classes.
        truth: (n, 1) values or (n,) class numbers.
        predictions: same shape as truth.
        rows: a name for the rows, e.g. "validation".
    """
    if spec.kind == REGRESSION:
        _prediction_vs_truth(folder, spec, truth.numpy().ravel(), predictions.numpy().ravel(), rows)
    else:
        _confusion_matrix(folder, spec, truth.numpy(), predictions.numpy(), rows)


# --- curves ---


def _panels(
    rows: Sequence[Mapping[str, Any]], monitor: str, spec: Spec | None, title: str
) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure with a panel for the loss and, if it is another score, the monitored one."""
    names = list(dict.fromkeys([LOSS, monitor]))
    figure = Figure(figsize=(7 if len(names) == 1 else 11, 4), layout="constrained")
    figure.suptitle(_wrapped(title, 60 * len(names)))
    panels = dict(zip(names, np.atleast_1d(figure.subplots(1, len(names))), strict=True))
    for name, axes in panels.items():
        drawn = ("train/loss", LOSS) if name == LOSS else (name,)
        values = [row[one] for row in rows for one in drawn if one in row]
        if _spans_a_decade(values):
            axes.set_yscale("log")
        elif max(values, default=0.0) >= 10_000:
            axes.yaxis.set_major_formatter(FuncFormatter(_number))
        axes.set(xlabel="epoch", ylabel=_with_unit(name, spec))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    return figure, panels


def _with_unit(score: str, spec: Spec | None) -> str:
    """Return the score with its unit: that of the target, its square, or none."""
    name = score.removeprefix("valid/")
    if spec is None or spec.kind != REGRESSION or not spec.target:
        return _literal(name)
    target = _shortened(spec.target)
    standardised = (spec.target_center, spec.target_scale) != (0.0, 1.0)
    words = {
        "loss": f"loss of the standardised {target}" if standardised else f"loss of {target}",
        "mse": f"mse, in ({target})²",
        "rmse": f"rmse, in {target}",
        "mae": f"mae, in {target}",
    }
    return _wrapped(words.get(name, name), AXIS_WIDTH)


def _curve(axes: Axes, history: Sequence[Mapping[str, Any]], name: str, **style: Any) -> None:
    points = [(row["epoch"], row[name]) for row in history if name in row]
    marker = "o" if len(points) < 3 else None
    axes.plot([x for x, _ in points], [y for _, y in points], marker=marker, lw=1.5, **style)


def _mean_and_range(axes: Axes, histories: Histories, name: str, *, color: str, label: str) -> None:
    by_epoch: dict[int, list[float]] = {}
    for history in histories.values():
        for row in history:
            if name in row and math.isfinite(row[name]):
                by_epoch.setdefault(row["epoch"], []).append(row[name])
    if not by_epoch:
        axes.plot([], [], color=color, label=f"{label}: not defined")
        return
    epochs = sorted(by_epoch)
    low, mean, high = (
        np.array([of(by_epoch[epoch]) for epoch in epochs]) for of in (min, np.mean, max)
    )
    most = max(map(len, by_epoch.values()))
    whole = np.array([len(by_epoch[epoch]) == most for epoch in epochs])
    few = "o" if len(epochs) < 3 else None
    words = f"{label}: mean of {most}"
    axes.plot(epochs, np.where(whole, mean, np.nan), color=color, lw=1.5, marker=few, label=words)
    if not whole.all():
        start = max(int(whole.nonzero()[0].max()), 0)
        axes.plot(
            epochs[start:], mean[start:], color=color, lw=1.0, linestyle=":", label="of fewer"
        )
    axes.fill_between(epochs, low, high, color=color, alpha=0.2, lw=0, label=f"{label}: range")


def _spans_a_decade(values: Sequence[float]) -> bool:
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) > 10 * min(finite)


# --- predictions ---


def _prediction_vs_truth(
    folder: Path, spec: Spec, truth: NDArray[Any], predictions: NDArray[Any], rows: str
) -> None:
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot()
    shown = slice(None, None, -(-len(truth) // MOST_DRAWN))
    if len(truth[shown]) < len(truth):
        rows = f"{len(truth[shown]):,} of {len(truth):,} {rows}"
    truth, predictions = truth[shown], predictions[shown]
    both = np.concatenate([truth, predictions])
    finite = both[np.isfinite(both)]
    low, high = (float(of(finite)) if len(finite) else 0.0 for of in (np.min, np.max))
    axes.plot([low, high], [low, high], color=BEST, linestyle=":", label="perfect")
    axes.scatter(truth, predictions, s=9, alpha=0.5, color=TRAIN, linewidths=0)
    target = _shortened(spec.target) or "value"
    axes.set(
        xlabel=_wrapped(f"truth: {target}", AXIS_WIDTH),
        ylabel=_wrapped(f"prediction: {target}", AXIS_WIDTH),
        title=_wrapped(f"{spec.target}, {rows} rows", 50),
    )
    axes.set_aspect("equal", adjustable="datalim")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(5))  # numbers of seven digits beside each other
        axis.set_major_formatter(FuncFormatter(_number))
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, folder / "prediction_vs_truth.png")


def _confusion_matrix(
    folder: Path, spec: Spec, truth: NDArray[Any], predictions: NDArray[Any], rows: str
) -> None:
    from sklearn.metrics import confusion_matrix

    count = len(spec.classes)
    matrix = confusion_matrix(truth, predictions, labels=range(count))
    names = [_wrapped(_shortened(name), CLASS_WIDTH) for name in spec.classes]
    longest = max(len(line) for name in names for line in name.split("\n"))
    of_names = 0.08 * longest if count <= MOST_LABELLED else 0.0
    side = max(4.0, 1.5 + 0.45 * min(count, MOST_LABELLED)) + of_names
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    target, width = _shortened(spec.target) or "class", int(9 * side)
    title = _wrapped(f"{spec.target}, {rows} rows\n(shade: share of the true class)", width)
    axes.set(
        xlabel=_wrapped(f"prediction: {target}", width - 10),
        ylabel=_wrapped(f"truth: {target}", width - 10),
    )
    figure.suptitle(title, fontsize="medium")
    if count <= MOST_LABELLED:
        _label(axes, names, matrix, shares)
    _save(figure, folder / "confusion_matrix.png")


def _label(axes: Axes, names: Sequence[str], matrix: NDArray[Any], shares: NDArray[Any]) -> None:
    long = max(map(len, names)) > 3
    axes.set_xticks(
        range(len(names)),
        names,
        rotation=45 if long else 0,
        ha="right" if long else "center",
        rotation_mode="anchor" if long else "default",
    )
    axes.set_yticks(range(len(names)), names)
    for (row, column), number in np.ndenumerate(matrix):
        if number:
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(number), ha="center", va="center", color=color, fontsize=8)


# --- words ---


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _wrapped(text: str, width: int) -> str:
    """Break lines that would be wider than their place."""
    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, max(width, 10))]
    return _literal("\n".join(lines))


def _number(value: float, _: int | None) -> str:
    """Return 250,000 rather than 2.5 with a factor of 1e5 at the end of the axis."""
    return f"{value:,.10g}"


def _literal(text: str) -> str:
    """Escape $, which would start a formula, and write out control characters."""
    return plain(text).replace("$", r"\$")


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a missing glyph is drawn as a box
        warnings.filterwarnings("ignore", "constrained_layout not applied")  # of a tiny picture
        picture = io.BytesIO()
        try:
            figure.savefig(picture, format="png", dpi=120, metadata={"Software": None})
        except Exception as error:  # e.g. settings of the user's matplotlibrc; the run goes on
            log.warning("cannot draw %s: %s", path.name, one_line(str(error)[:200]))
            return
    write_atomically(path, picture.getvalue(), durable=False)
