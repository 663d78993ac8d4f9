"""Plots of a run, with matplotlib's Figure: importing pyplot would take a second."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from mlrun.data.dataset import REGRESSION, Spec

TRAIN, VALID, BEST = "#4c72b0", "#dd8452", "#555555"
MOST_NAMED = 10  # members with their own colour and name in a plot
MOST_DRAWN = 20_000  # points; more would hide each other
MOST_LABELLED = 20  # classes with names and counts in the confusion matrix


def draw_curve(
    folder: Path, history: Sequence[dict[str, Any]], best_epoch: int, *, title: str
) -> None:
    """Write plots/learning_curve.png: training and validation loss by epoch, best epoch marked."""
    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot()
    _curve(axes, history, "train/loss", color=TRAIN, label="train")
    _curve(axes, history, "valid/loss", color=VALID, label="valid")
    axes.axvline(best_epoch, color=BEST, linestyle=":", label=f"best epoch {best_epoch}")
    if _spans_a_decade(history):
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel="loss", title=_literal(title))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.subplots_adjust(left=0.14, right=0.97, bottom=0.13, top=0.91)
    _save(figure, folder / "learning_curve.png")


def draw_curves(
    folder: Path, histories: Mapping[str, Sequence[Mapping[str, Any]]], *, title: str
) -> None:
    """Write plots/learning_curve.png: every member's validation loss by epoch."""
    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot()
    few = len(histories) <= MOST_NAMED
    for name, history in histories.items():
        style = {"label": name} if few else {"color": VALID, "alpha": 0.4}
        _curve(axes, history, "valid/loss", **style)
    if _spans_a_decade([row for history in histories.values() for row in history]):
        axes.set_yscale("log")
    axes.set(xlabel="epoch", ylabel="loss", title=_literal(title))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if few:
        axes.legend()
    figure.subplots_adjust(left=0.14, right=0.97, bottom=0.13, top=0.91)
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


def _curve(axes: Axes, history: Sequence[Mapping[str, Any]], name: str, **style: Any) -> None:
    points = [(row["epoch"], row[name]) for row in history if name in row]
    marker = "o" if len(points) < 3 else None
    axes.plot(*zip(*points, strict=True), marker=marker, linewidth=1.5, **style)


def _spans_a_decade(history: Sequence[Mapping[str, Any]]) -> bool:
    losses = [row[name] for row in history for name in ("train/loss", "valid/loss") if name in row]
    return bool(min(losses) > 0 and max(losses) > 10 * min(losses))


def _prediction_vs_truth(
    folder: Path, spec: Spec, truth: NDArray[Any], predictions: NDArray[Any], rows: str
) -> None:
    figure = Figure(figsize=(5, 5))
    axes = figure.add_subplot()
    shown = slice(None, None, -(-len(truth) // MOST_DRAWN))
    if len(truth[shown]) < len(truth):
        rows = f"{len(truth[shown]):,} of {len(truth):,} {rows}"
    truth, predictions = truth[shown], predictions[shown]
    low = float(min(truth.min(), predictions.min()))
    high = float(max(truth.max(), predictions.max()))
    axes.plot([low, high], [low, high], color=BEST, linestyle=":", label="perfect")
    axes.scatter(truth, predictions, s=9, alpha=0.5, color=TRAIN, linewidths=0)
    axes.set(xlabel="truth", ylabel="prediction", title=_literal(f"{spec.target}, {rows} rows"))
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.subplots_adjust(left=0.14, right=0.96, bottom=0.11, top=0.92)
    _save(figure, folder / "prediction_vs_truth.png")


def _confusion_matrix(
    folder: Path, spec: Spec, truth: NDArray[Any], predictions: NDArray[Any], rows: str
) -> None:
    from sklearn.metrics import confusion_matrix

    count = len(spec.classes)
    matrix = confusion_matrix(truth, predictions, labels=range(count))
    side = max(4.0, 1.5 + 0.45 * min(count, MOST_LABELLED))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(
        xlabel="prediction",
        ylabel="truth",
        title=_literal(f"{spec.target}, {rows} rows\n(shade: share of the true class)"),
    )
    if count <= MOST_LABELLED:
        _label(axes, spec.classes, matrix, shares)
    _save(figure, folder / "confusion_matrix.png")


def _label(axes: Axes, classes: Sequence[str], matrix: NDArray[Any], shares: NDArray[Any]) -> None:
    names = [name if len(name) <= 12 else name[:11] + "…" for name in classes]
    long = max(map(len, names)) > 3
    names = [*map(_literal, names)]
    axes.set_xticks(
        range(len(names)), names, rotation=45 if long else 0, ha="right" if long else "center"
    )
    axes.set_yticks(range(len(names)), names)
    for (row, column), number in np.ndenumerate(matrix):
        if number:
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(number), ha="center", va="center", color=color, fontsize=8)


def _literal(text: str) -> str:
    """Escape $, which would start a formula."""
    return text.replace("$", r"\$")


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a missing glyph is drawn as a box
        figure.savefig(path, dpi=120, metadata={"Software": None})
