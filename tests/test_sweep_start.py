"""What a sweep checks, leaves out and says before and while its jobs train."""

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console as RichConsole

import mlrun as door
from mlrun.sweeps.journal import DONE
from mlrun.sweeps.progress import SweepProgress

SMALL = ("debug=smoke", "trainer.epochs=4")
QUIET = "quiet=true"
NAMED = "hydra.sweep.dir=sweep"
SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=3")


def table() -> list[dict[str, str]]:
    return list(csv.DictReader(Path("sweep/summary.csv").read_text().splitlines()))


# --- the first look ---


@pytest.mark.slow
def test_a_data_error_of_all_jobs_refuses_the_sweep(mlrun, write_csv):
    write_csv("t.csv", "x,y\n1,2\n3,4\n5,6\n")
    for words, message in (
        (("data.train=nope.csv", "data.target=y"), "no job can start: no file nope.csv"),
        (("data.train=t.csv", "data.target=z"), "no job can start: "),
        (("data.train=a.csv,b.csv", "data.target=y"), "no job can start: no file a.csv"),
    ):
        answer = mlrun("-m", "task=csv", *words, "seed=0,1")
        assert (answer.code, message in answer.err) == (2, True)
        assert answer.err.count("\n") == 1
    assert not Path("outputs").exists()


@pytest.mark.slow
def test_a_search_with_a_data_error_is_refused_too(mlrun):
    words = ("task=csv", "data.train=nope.csv", "data.target=y", "optimizer.lr=interval(0.1,0.2)")
    answer = mlrun(*SEARCH, *words)
    assert (answer.code, "no job can start" in answer.err) == (2, True)
    assert not Path("outputs").exists()


@pytest.mark.slow
def test_what_the_data_is_taken_for_is_said_once_and_logged_by_the_first_job(mlrun, write_csv):
    write_csv("t.csv", "x,y\n" + "".join(f"{i},{i * 0.5}\n" for i in range(40)))
    words = ("task=csv", "data.train=t.csv", "trainer.epochs=1", "seed=0,1", NAMED)
    answer = mlrun("-m", *words)
    assert answer.out.count("y, the last column") == 1
    assert "y, the last column" in Path("sweep/0/run.log").read_text()


@pytest.mark.slow
def test_a_sweep_says_once_why_its_jobs_are_not_trained_natively(mlrun):
    words = ("model.norm=batch", "seed=0,1", *SMALL, NAMED)
    assert mlrun("-m", *words).out.count("the native engine was not used: ") == 1
    assert mlrun("-m", *words, "--dry-run").out.count("the native engine is not used: ") == 1


@pytest.mark.slow
def test_the_live_line_moves_while_a_job_trains(monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr("mlrun.sweeps.progress.REFRESH_SECONDS", -1.0)
    monkeypatch.setattr(
        "mlrun.sweeps.progress.plain_console",
        lambda **_: RichConsole(file=io.StringIO(), force_terminal=True, width=200),
    )
    refresh = SweepProgress._refresh

    def note(progress: SweepProgress) -> None:
        lines.append(progress._line())
        refresh(progress)

    monkeypatch.setattr(SweepProgress, "_refresh", note)
    door.sweep("seed=1,2", "trainer.epochs=3", "trainer.limit_batches=2", "trainer.patience=null")
    assert any("2 running (epoch 2/3)" in line for line in lines)
    door.sweep("seed=1", "seeds=2", "trainer.epochs=3", "trainer.limit_batches=2")
    assert any("1 running (epoch 2/3)" in line for line in lines)


# --- keys of some options only ---


@pytest.mark.slow
def test_a_key_applies_to_the_options_that_have_it(mlrun):
    words = ("optimizer=sgd,adam", "optimizer.momentum=0,0.9", *SMALL, NAMED)
    answer = mlrun("-m", *words)
    assert (
        "optimizer.momentum applies to optimizer=sgd; optimizer=adam has no such key" in answer.out
    )
    found = [(row["optimizer"], row["optimizer.momentum"], row["status"]) for row in table()]
    assert found == [("sgd", "0", DONE), ("sgd", "0.9", DONE), ("adam", "", DONE)]


@pytest.mark.slow
def test_a_fixed_key_of_some_options_is_one_too(mlrun):
    words = ("optimizer=sgd,rmsprop,adam", "optimizer.momentum=0.5", *SMALL, QUIET, NAMED)
    assert mlrun("-m", *words).code == 0
    settings = [json.loads(Path(f"sweep/{n}/run.json").read_text())["config"] for n in range(3)]
    momenta = [one["optimizer"].get("momentum") for one in settings]
    assert momenta == [0.5, 0.5, None]


@pytest.mark.parametrize("options", ["optimizer=sgd,adam", "optimizer=sgd"])
@pytest.mark.slow
def test_a_key_that_no_option_has_is_refused(mlrun, options):
    answer = mlrun("-m", options, "optimizer.momentun=0,0.9")
    assert (answer.code, "unknown key 'optimizer.momentun'" in answer.err) == (2, True)
    assert not Path("outputs").exists()


@pytest.mark.slow
def test_a_list_replaces_a_mapping_in_a_job_too(mlrun):
    words = ("task=covid", "data.features=[tested_positive.3,tested_positive.2],{top: 5},all")
    assert mlrun("-m", *words, *SMALL, QUIET, NAMED).code == 0
    specs = [json.loads(Path(f"sweep/{n}/run.json").read_text())["spec"] for n in range(3)]
    assert [spec["in_shape"] for spec in specs][:2] == [[2], [5]]
    assert specs[2]["in_shape"][0] > 24
