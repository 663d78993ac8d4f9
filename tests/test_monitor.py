"""The monitored score: the direction in which it improves, and where it is not defined."""

import csv
import json
from pathlib import Path

import pytest

RUN = ("task=csv", "data.train=my.csv", "trainer.patience=null", "quiet=true", "hydra.run.dir=run")
LINE = "x,y\n" + "".join(f"{n},{2 * n}.5\n" for n in range(60))
FIVE = "x,y\n" + "".join(f"{n},{2 * n}.5\n" for n in range(5))
PLATEAU = ("scheduler=plateau", "scheduler.patience=0", "optimizer.lr=0.001", "trainer.epochs=6")


def history() -> list[dict[str, str]]:
    with Path("run/metrics.csv").open() as file:
        return [*csv.DictReader(file)]


def test_plateau_keeps_the_rate_while_a_score_that_should_rise_rises(mlrun, write_csv):
    write_csv("my.csv", LINE)
    assert mlrun(*RUN, *PLATEAU, "trainer.monitor=valid/r2").code == 0
    scores = [float(row["valid/r2"]) for row in history()]
    assert scores == sorted(scores)
    assert {float(row["lr"]) for row in history()} == {0.001}


@pytest.mark.parametrize(
    ("monitor", "mode", "right"), [("valid/loss", "max", "min"), ("valid/r2", "min", "max")]
)
def test_plateau_in_the_wrong_direction_is_refused(mlrun, write_csv, monitor, mode, right):
    write_csv("my.csv", LINE)
    answer = mlrun(*RUN, *PLATEAU, f"scheduler.mode={mode}", f"trainer.monitor={monitor}")
    assert answer.code == 2
    assert f"scheduler.mode={mode}: the scheduler watches trainer.monitor={monitor}" in answer.err
    assert f"for which {right} is right" in answer.err


def test_a_score_that_one_row_cannot_have_is_refused_as_monitor(mlrun, write_csv):
    write_csv("my.csv", FIVE)
    answer = mlrun(*RUN, "trainer.monitor=valid/r2", "trainer.epochs=2")
    assert (answer.code, Path("run").exists()) == (2, False)
    assert "R² is not defined for 1 validation row" in answer.err


@pytest.mark.parametrize("members", [(), ("seeds=2",)])
def test_a_run_validated_on_one_row_can_be_shown(mlrun, write_csv, members):
    write_csv("my.csv", FIVE)
    assert mlrun(*RUN, "trainer.epochs=2", *members).code == 0
    assert json.loads(Path("run/run.json").read_text())["metrics"]["valid"]["r2"] is None
    for verb in ("show", "evaluate"):
        assert "r2 not defined" in mlrun(verb, "run").out
