"""`make pictures`: generate the README's pictures with a real run on the sample data."""

import os
import shutil
import tempfile
from pathlib import Path

from rich.console import Console as RichConsole

import mlrun.report.console
from mlrun.cli.main import main

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "images"
COMMAND = ["task=mnist", "model=cnn", "trainer.epochs=8"]


def draw() -> None:
    """Run COMMAND with a recording terminal; save its output and plots."""
    recorder = RichConsole(
        record=True, width=108, force_terminal=True, highlight=False, soft_wrap=True
    )
    mlrun.report.console.REFRESH_SECONDS = 3600.0  # a still picture shows the last state only
    mlrun.report.console.RichConsole = lambda **_: recorder  # type: ignore[assignment,attr-defined]
    os.environ.pop("MLRUN_DATA", None)
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        recorder.print(f"$ mlrun {' '.join(COMMAND)}", style="bold")
        assert main(COMMAND) == 0
        (run,) = Path("outputs").glob("*/*")
        shutil.copy(run / "plots" / "confusion_matrix.png", PICTURES)
        shutil.copy(run / "plots" / "learning_curve.png", PICTURES)
    recorder.save_svg(str(PICTURES / "run.svg"), title="mlrun")


if __name__ == "__main__":
    draw()
