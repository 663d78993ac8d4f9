"""Console, TensorBoard, plots, predictions."""

import io
import json
import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rich.console import Console as RichConsole
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from mlrun.data.dataset import Spec
from mlrun.errors import MlrunError
from mlrun.report import plots
from mlrun.report.console import Console
from mlrun.report.plots import draw_curve, draw_predictions
from mlrun.report.tensorboard import EventFile, checksums
from mlrun.runs.predictions import write_predictions

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


def test_plots_are_the_same_bytes_each_time(workdir):
    draw_curve(workdir / "a", [ROW], 1, title="x")
    draw_curve(workdir / "b", [ROW], 1, title="x")
    first, second = ((workdir / x / "learning_curve.png").read_bytes() for x in "ab")
    assert first == second


def test_predicted_values_read_back_exactly(workdir):
    values = torch.tensor([[0.1], [1e-8], [12345.678]])
    write_predictions(workdir / "p.csv", REGRESSION, [7, 8, 9], values)
    lines = (workdir / "p.csv").read_text().splitlines()
    assert lines[0] == "id,y"
    assert [np.float32(line.split(",")[1]) for line in lines[1:]] == values.ravel().tolist()


@pytest.mark.parametrize("guard", [False, True])
def test_texts_that_a_spreadsheet_would_run_are_guarded_on_request(workdir, guard):
    ids, mark = ["=HYPERLINK()", "-3"], "'" * guard
    predictions = torch.tensor([1, 2])
    write_predictions(workdir / "p.csv", CLASSES, ids, predictions, guard=guard)
    lines = (workdir / "p.csv").read_text().splitlines()
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
