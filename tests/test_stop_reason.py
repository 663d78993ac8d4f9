"""Why a run stopped: in its summary, in run.json and in `mlrun show`."""

import json
from pathlib import Path

import pytest

from mlrun.system.seams import Place, listening
from tests.crashing import raising

TINY = ("task=covid", "trainer.limit_batches=1", "trainer.epochs=3", "hydra.run.dir=run")
STALE = ("trainer.patience=1", "trainer.min_delta=1e9")  # no epoch is that much better


def stopped(run: str = "run") -> str:
    return str(json.loads(Path(run, "run.json").read_text())["stopped"])


@pytest.mark.parametrize(
    ("words", "reason", "line", "best"),
    [
        ((), "epochs", "all epochs done (3)", "of 3"),
        (STALE, "patience", "early stopping (no improvement for 1 epochs)", "of 2"),
        (
            ("trainer.max_minutes=1e-9",),
            "max_minutes",
            "time limit reached (trainer.max_minutes)",
            "1 of 1",
        ),
    ],
    ids=["epochs", "patience", "max_minutes"],
)
@pytest.mark.slow
def test_a_run_reports_why_it_stopped(mlrun, words, reason, line, best):
    lines = mlrun(*TINY, *words).out.splitlines()
    assert any(text.split(maxsplit=1) == ["stopped", line] for text in lines)
    assert any(text.startswith("best epoch") and text.endswith(best) for text in lines)
    assert stopped() == reason
    assert line.split(" (")[0] in mlrun("show", "run").out


@pytest.mark.slow
def test_a_resumed_run_reports_its_own_reason(mlrun):
    mlrun(*TINY, *STALE)
    assert mlrun("resume", "run", "trainer.patience=null").code == 0
    assert stopped() == "epochs"


@pytest.mark.slow
def test_an_interrupted_run_has_no_reason(mlrun):
    with listening(Place.EPOCH_RECORDED, raising(KeyboardInterrupt())):
        mlrun(*TINY)
    assert "stopped" not in json.loads(Path("run", "run.json").read_text())


@pytest.mark.slow
def test_an_ensemble_counts_the_reasons_of_its_members(mlrun):
    lines = mlrun(*TINY, *STALE, "seeds=2").out.splitlines()
    assert any(line.split(maxsplit=1) == ["stopped", "2 × early stopping"] for line in lines)
    assert stopped("run/members/seed_1") == "patience"
