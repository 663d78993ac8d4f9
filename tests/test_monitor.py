"""The monitored score: the direction in which it improves, and where it is not defined."""

import csv
import json
from pathlib import Path

import pytest

RUN = ("task=csv", "data.train=my.csv", "quiet=true", "hydra.run.dir=run")
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


@pytest.mark.parametrize("members", [(), ("folds=2",), ("seeds=2",)])
def test_min_delta_does_not_decide_which_weights_are_kept(mlrun, write_csv, members):
    write_csv("my.csv", LINE)
    words = ("trainer.monitor=valid/r2", "trainer.min_delta=0.5", "trainer.epochs=30")
    assert mlrun(*RUN, *words, "optimizer.lr=0.01", *members).code == 0
    runs = [*Path("run/members").iterdir()] if members else [Path("run")]
    for run in runs:
        with (run / "metrics.csv").open() as file:
            scores = [float(row["valid/r2"]) for row in csv.DictReader(file)]
        record = json.loads((run / "run.json").read_text())
        assert record["best_epoch"] == scores.index(max(scores)) + 1
        assert record["best_score"] == record["metrics"]["valid"]["r2"] == max(scores)


def test_a_sweep_ranks_by_the_best_epoch_whatever_min_delta(mlrun, write_csv):
    write_csv("my.csv", LINE)
    words = ("trainer.monitor=valid/r2", "trainer.min_delta=9", "trainer.epochs=9")
    rates = ("optimizer.lr=0.001,0.01", "hydra.sweep.dir=sweep", "sweep.halving=2")
    assert mlrun("-m", *RUN[:-1], *words, *rates).code == 0
    with Path("sweep/summary.csv").open() as file:
        jobs = [*csv.DictReader(file)]
    for job in jobs:
        with Path("sweep", job["folder"], "metrics.csv").open() as file:
            scores = [float(row["valid/r2"]) for row in csv.DictReader(file)]
        assert float(job["score"]) == max(scores)
    assert [job["status"] for job in jobs] == ["stopped", "done"]


@pytest.mark.parametrize("more", [(), ("seeds=2",), (*PLATEAU, "trainer.patience=2")])
@pytest.mark.slow
def test_a_run_validated_on_one_row_can_be_shown(mlrun, write_csv, more):
    write_csv("my.csv", FIVE)
    assert mlrun(*RUN, "trainer.epochs=2", *more).code == 0
    assert json.loads(Path("run/run.json").read_text())["metrics"]["valid"]["r2"] is None
    for verb in ("show", "evaluate"):
        assert "r2 not defined" in mlrun(verb, "run").out
