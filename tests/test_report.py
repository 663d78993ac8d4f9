"""Console, TensorBoard, plots, predictions."""

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from rich.console import Console as RichConsole
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from mlrun.data.dataset import Spec
from mlrun.errors import MlrunError
from mlrun.report import plots
from mlrun.report.console import Console
from mlrun.report.plots import draw_curve, draw_curves, draw_predictions
from mlrun.report.tensorboard import EventFile, checksums
from mlrun.runs.predictions import predictions_csv

pytestmark = pytest.mark.draws
REGRESSION = Spec("regression", (2,), 1, target="y", header=("id", "y"))
CLASSES = Spec("classification", (2,), 3, classes=("no", "=1+1", "-2"), target="y")
ROW = {"epoch": 1, "step": 5, "lr": 0.1, "train/loss": 2.0, "valid/loss": 1.5, "seconds": 0.1}


def test_tensorboards_own_reader_finds_the_losses(workdir):
    events = EventFile(workdir / "tensorboard")
    events.hyperparameters({"optimizer.lr": 0.1, "model.hidden": [64]})
    for epoch in (1, 2):
        events.epoch(ROW | {"epoch": epoch, "valid/loss": 1.5 / epoch})
    events.close()
    reader = EventAccumulator(str(workdir / "tensorboard")).Reload()
    assert set(reader.Tags()["scalars"]) == {"Loss/train", "Loss/valid", "lr"}
    assert [(e.step, e.value) for e in reader.Scalars("Loss/valid")] == [(1, 1.5), (2, 0.75)]
    assert "_hparams_/session_start_info" in reader.PluginTagToContent("hparams")


@given(st.lists(st.binary(max_size=40), max_size=9))
def test_records_have_the_checksums_that_tensorboard_computes(records):
    assert checksums(records) == [masked_crc32c(record) for record in records]


def png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_the_learning_curve_is_drawn_also_for_one_epoch(workdir):
    draw_curve(workdir, [ROW], 1, title="x")
    assert png(workdir / "learning_curve.png")


def test_the_plot_of_predictions_follows_the_kind_of_task(workdir):
    values = torch.randn(20, 1)
    draw_predictions(workdir, REGRESSION, values, values + 0.1, rows="validation")
    numbers = torch.arange(20) % 3
    draw_predictions(workdir, CLASSES, numbers, numbers.flip(0), rows="test")
    assert png(workdir / "prediction_vs_truth.png")
    assert png(workdir / "confusion_matrix.png")


def test_letters_that_the_font_lacks_give_no_warning(workdir):
    spec = Spec("classification", (3,), 2, classes=("日本", "\x16"), target="größe")
    draw_predictions(workdir, spec, torch.tensor([0, 1]), torch.tensor([0, 1]), rows="test")
    assert png(workdir / "confusion_matrix.png")  # a warning would be an error


def test_of_very_many_predictions_some_are_drawn_and_the_title_reports_it(workdir, monkeypatch):
    monkeypatch.setattr(plots, "MOST_DRAWN", 10)
    titles: list[str] = []

    def note(figure: Figure, *_: object, **__: object) -> None:
        titles.append(figure.axes[0].get_title())

    monkeypatch.setattr(Figure, "savefig", note)
    values = torch.arange(25.0).unsqueeze(1)
    draw_predictions(workdir, REGRESSION, values, values, rows="test")
    assert titles == ["y, 9 of 25 test rows"]


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are saved from now on."""
    figures: list[Figure] = []
    save = Figure.savefig

    def note(figure: Figure, *arguments: Any, **named: Any) -> None:
        save(figure, *arguments, **named)
        figures.append(figure)

    monkeypatch.setattr(Figure, "savefig", note)
    return figures


def not_drawn(axes: Axes) -> Iterator[Text]:
    """The labels of ticks beyond the ends of an axis."""
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if not low <= tick.get_loc() <= high:
                yield from (tick.label1, tick.label2)


def texts_outside(figure: Figure) -> list[str]:
    """The texts of a picture that its edge cuts."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (width, height), renderer = canvas.get_width_height(), canvas.get_renderer()
    found = []
    beyond = {label for axes in figure.axes for label in not_drawn(axes)}
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text() and text not in beyond:
            box = text.get_window_extent(renderer)
            if box.width and (box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height):
                found.append(text.get_text())
    return found


LONG = "the price at which the house was sold in the year after it was built, in dollars"


@pytest.mark.slow
def test_no_label_is_cut_off(workdir, monkeypatch):
    figures = drawn(monkeypatch)
    prices = torch.linspace(150_000, 999_999, 30).unsqueeze(1)
    for target in ("price", LONG):
        spec = Spec("regression", (2,), 1, target=target, target_center=5e5, target_scale=1e5)
        draw_predictions(workdir, spec, prices, prices * 1.1, rows="validation")
        rows = [ROW | {"epoch": n, "valid/mse": 1e10 / n, "valid/mae": 1e5} for n in range(1, 9)]
        for monitor in ("valid/loss", "valid/mse", "valid/mae"):
            draw_curve(workdir, rows, 3, title=LONG, monitor=monitor, spec=spec)
            draw_curves(workdir, {"a": rows, "b": rows}, title="x", monitor=monitor, spec=spec)
    for count in (2, 4, 12, 20, 30):
        names = tuple(f"class {n} with a long name of many words {n}" for n in range(count))
        spec = Spec("classification", (2,), count, classes=names, target=LONG)
        numbers = torch.arange(60) % count
        draw_predictions(workdir, spec, numbers, numbers.flip(0), rows="test")
    assert [texts_outside(figure) for figure in figures] == [[]] * len(figures)


def test_prices_are_written_out_on_the_axes(workdir, monkeypatch):
    figures = drawn(monkeypatch)
    prices = torch.linspace(150_000, 999_999, 30).unsqueeze(1)
    draw_predictions(workdir, REGRESSION, prices, prices, rows="test")
    [axes] = figures[0].axes
    assert "400,000" in [label.get_text() for label in axes.get_xticklabels()]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("truth: y", "prediction: y")


def test_the_monitored_score_stands_beside_the_loss_with_its_unit(workdir, monkeypatch):
    figures = drawn(monkeypatch)
    spec = Spec("regression", (2,), 1, target="cost", target_scale=2.0)
    rows = [ROW | {"epoch": n, "valid/mse": 1.0 / n} for n in (1, 2, 3)]
    draw_curve(workdir, rows, 3, title="x", monitor="valid/mse", spec=spec)
    draw_curve(workdir, rows, 3, title="x", monitor="valid/loss", spec=spec)
    labels = [[axes.get_ylabel() for axes in figure.axes] for figure in figures]
    assert labels == [
        ["loss of the standardised cost", "mse, in (cost)²"],
        ["loss of the standardised cost"],
    ]


def test_members_are_a_mean_and_a_range(workdir, monkeypatch):
    figures = drawn(monkeypatch)
    histories = {
        f"seed_{n}": [ROW | {"epoch": e, "valid/loss": float(n + e)} for e in (1, 2, 3)]
        for n in range(25)
    }
    histories["seed_2"].append(ROW | {"epoch": 4})
    draw_curves(workdir, histories, title="x")
    [axes] = figures[0].axes
    by_label = {line.get_label(): line for line in axes.lines}
    mean = np.asarray(by_label["valid: mean of 25"].get_ydata())
    assert mean[:3].tolist() == [13.0, 14.0, 15.0]
    assert np.isnan(mean[3])  # only one member is left
    assert len(axes.lines) == 4  # train and valid, each with its dotted rest
    assert len(axes.collections) == 2


@pytest.mark.slow
def test_scores_that_are_nan_leave_gaps(workdir):
    nan = float("nan")
    rows = [ROW | {"epoch": n, "valid/r2": nan} for n in (1, 2, 3)]
    rows[1]["valid/loss"] = nan
    draw_curve(workdir, rows, 1, title="x", monitor="valid/r2", spec=REGRESSION)
    draw_curves(workdir, {"a": rows, "b": rows}, title="x", monitor="valid/r2", spec=REGRESSION)
    values = torch.tensor([[1.0], [nan], [2.0]])
    draw_predictions(workdir, REGRESSION, values, values, rows="test")
    assert png(workdir / "learning_curve.png")
    assert png(workdir / "prediction_vs_truth.png")


def test_plots_are_the_same_bytes_each_time(workdir):
    draw_curve(workdir / "a", [ROW], 1, title="x")
    draw_curve(workdir / "b", [ROW], 1, title="x")
    first, second = ((workdir / x / "learning_curve.png").read_bytes() for x in "ab")
    assert first == second


def test_predicted_values_read_back_exactly():
    values = torch.tensor([[0.1], [1e-8], [12345.678]])
    lines = predictions_csv(REGRESSION, [7, 8, 9], values).decode().splitlines()
    assert lines[0] == "id,y"
    assert [np.float32(line.split(",")[1]) for line in lines[1:]] == values.ravel().tolist()


@pytest.mark.parametrize("guard", [False, True])
def test_texts_that_a_spreadsheet_would_run_are_guarded_on_request(guard):
    ids, mark = ["=HYPERLINK()", "-3"], "'" * guard
    predictions = torch.tensor([1, 2])
    lines = predictions_csv(CLASSES, ids, predictions, guard=guard).decode().splitlines()
    assert lines == ["id,prediction", f"{mark}=HYPERLINK(),{mark}=1+1", "-3,-2"]


def shown(terminal: bool, epochs: int = 100) -> str:
    out = io.StringIO()
    console = Console(quiet=False)
    console.out = RichConsole(file=out, force_terminal=terminal, width=100, _environ={})
    console.live = terminal
    console._screen._out = console.out
    with console:
        console.sample_warning(Path("data/sample/covid"))
        console.begin_progress(epochs, "valid/loss")
        for epoch in range(1, epochs + 1):
            console.epoch(ROW | {"epoch": epoch}, best_epoch=1, best_score=1.5)
        console.result([("best epoch", "1 of 100")], title="done", folder=Path("run"))
    return out.getvalue()


def test_without_a_terminal_there_are_plain_lines_one_in_twenty_epochs():
    text = shown(terminal=False)
    assert "\x1b" not in text
    lines = [line for line in text.splitlines() if line.startswith("epoch")]
    assert len(lines) == 21
    assert lines[-1] == (
        "epoch 100/100  eta 0:00  best valid/loss 1.5 (epoch 1)  train/loss 2  valid/loss 1.5"
    )


def test_on_a_terminal_progress_is_live_and_the_sample_warning_is_whole():
    text = shown(terminal=True)
    assert "\x1b[" in text
    assert "data/README.md" in text
    assert "epoch 100/100" in text


def test_the_log_file_gets_the_lines_from_before_it_existed(workdir):
    console = Console(quiet=True)
    with console:
        logging.getLogger("mlrun.data").info("early")
        console.log_to(workdir / "run.log")
        logging.getLogger("mlrun.data").info("late")
    text = (workdir / "run.log").read_text()
    assert text.index("early") < text.index("late")


def test_a_log_file_that_cannot_be_written_is_named(workdir):
    with Console(quiet=True) as console, pytest.raises(MlrunError, match=r"write .*: Is a dir"):
        console.log_to(workdir)


def test_quiet_prints_the_run_folder_only(capsys):
    with Console(quiet=True) as console:
        logging.getLogger("mlrun.data").info("something")
        console.result([("a", "b")], title="done", folder=Path("outputs/run"))
    assert capsys.readouterr().out == "outputs/run\n"


def test_the_spec_survives_json():
    assert Spec.from_record(json.loads(json.dumps(asdict(CLASSES))), "run.json") == CLASSES


@pytest.fixture(autouse=True)
def _restore_logging():
    yield
    logging.getLogger("mlrun").handlers = []
