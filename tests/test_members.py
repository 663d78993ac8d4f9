"""Runs with `seeds` and `folds`: members that are lone runs, and what they say together."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlrun.data import sample
from mlrun.errors import Diverged
from mlrun.runs.folder import locked, open_run
from mlrun.system.seams import Place
from mlrun.training.engines.native.engine import Native
from tests import faults
from tests.crashing import crashing_at
from tests.test_resume import TINY, assert_same_run

MANY = (*TINY, "model.dropout=0.3", "seeds=2", "folds=3")
TWO = (*TINY, "seeds=2")
NAMES = [f"fold_{fold}_seed_{seed}" for fold in range(3) for seed in range(2)]


def table(path: Path | str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def run_record(path: Path | str) -> Any:
    return json.loads(Path(path, "run.json").read_text())


@pytest.mark.parametrize(
    "task",
    [
        (),
        pytest.param(("task=phone_price", "model.norm=batch"), marks=pytest.mark.slow),
        pytest.param(("task=mnist", "model=cnn", "model.channels=[2,4]"), marks=pytest.mark.slow),
    ],
    ids=["covid", "phone_price", "mnist"],
)
def test_a_member_is_the_lone_run_of_its_seed_and_fold(mlrun, whole, task):
    many = whole(mlrun, *task, *MANY)
    folds = ("data.split.method=auto_kfold", "data.split.folds=3", "data.split.fold=1")
    words = ("model.dropout=0.3", *folds, "seed=1", "hydra.run.dir=lone")
    assert mlrun(*task, *TINY, *words).code == 0
    assert_same_run(Path("lone"), many / "members/fold_1_seed_1")


def test_the_mean_of_the_members_predicts_and_their_spread_is_written_on_request(mlrun, finished):
    finished("many", *MANY)
    assert [path.name for path in sorted(Path("many/members").iterdir())] == NAMES
    each = [table(f"many/members/{name}/pred.csv") for name in NAMES]
    values = [float(rows[0]["tested_positive"]) for rows in each]
    mean = sum(values) / len(values)
    assert float(table("many/pred.csv")[0]["tested_positive"]) == pytest.approx(mean, rel=1e-6)
    assert mlrun("predict", "many", "--members").out == "many/pred_members.csv\n"
    row = table("many/pred_members.csv")[0]
    assert [float(row[name]) for name in NAMES] == pytest.approx(values)
    spread = (sum((value - mean) ** 2 for value in values) / len(values)) ** 0.5
    assert float(row["disagreement"]) == pytest.approx(spread, rel=1e-4)


def test_classes_are_chosen_by_the_mean_probability(mlrun):
    mlrun("task=phone_price", "model=linear", *TINY, "seeds=3", "hydra.run.dir=many")
    shares = []
    for seed in range(3):
        mlrun("predict", f"many/members/seed_{seed}", "--proba", "--output", "one.csv")
        shares.append([float(row["probability_2"]) for row in table("one.csv")])
    mlrun("predict", "many", "--proba", "--output", "all.csv")
    rows = table("all.csv")
    means = [sum(values) / 3 for values in zip(*shares, strict=True)]
    assert [float(row["probability_2"]) for row in rows] == pytest.approx(means, rel=1e-5)
    for row in rows:
        best = max(range(4), key=lambda number: float(row[f"probability_{number}"]))
        assert row["price_range"] == str(best)


@pytest.mark.slow
def test_every_row_is_scored_by_members_that_did_not_train_on_it(mlrun):
    answer = mlrun(*MANY, "hydra.run.dir=many", "quiet=false")
    splits = [json.loads(Path(f"many/members/{n}/split.json").read_text()) for n in NAMES]
    held = [tuple(split["valid"]) for split in splits]
    assert held[0] == held[1] != held[2]
    assert sorted(row for part in set(held) for row in part) == list(range(sample.ROWS["covid"][0]))
    record = run_record("many")
    found = record["metrics"]["out_of_fold"]["mse"]
    mean, deviation = record["members"]["valid"]["mse"]
    assert abs(found - mean) < deviation  # a mean of three folds, and of six members
    assert f"mse {mean:.4f} ± {deviation:.4f}" in answer.out
    assert f"out_of_fold  mse {found:.4f}" in mlrun("evaluate", "many").out


@pytest.mark.slow
def test_a_moved_folder_predicts_evaluates_and_is_shown(mlrun, finished):
    finished("elsewhere", *MANY)
    sample.write_sample("covid")
    before = Path("elsewhere/pred.csv").read_bytes()
    shutil.copy("data/sample/covid/covid.test.csv", "new.csv")
    assert mlrun("predict", "elsewhere", "--input", "new.csv").code == 0
    assert Path("elsewhere/pred_new.csv").read_bytes() == before
    assert mlrun("predict", "elsewhere").code == 0
    assert Path("elsewhere/pred.csv").read_bytes() == before
    assert "members      fold_0_seed_0, fold_0_seed_1" in mlrun("show", "elsewhere").out
    scored = mlrun("evaluate", "elsewhere", "--input", "data/sample/covid/covid.train.csv")
    assert scored.out.startswith("input  mse ")


@faults.crash
@pytest.mark.parametrize("calls", [15, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_a_resumed_run_of_members_equals_the_one_that_never_stopped(
    mlrun, monkeypatch, whole, calls
):
    unbroken = whole(mlrun, *MANY)
    seen: list[Any] = []

    def is_the_last(facts: Any) -> bool:
        seen.append(facts)
        return bool(len(seen) == calls)

    with crashing_at(Place.EPOCH_RECORDING, is_the_last):
        mlrun(*MANY, "hydra.run.dir=many")
    assert mlrun("resume", "many").code == 0
    for name in NAMES:
        assert_same_run(unbroken / "members" / name, Path("many/members", name))
    assert (unbroken / "pred.csv").read_bytes() == Path("many/pred.csv").read_bytes()
    assert "nothing left to do: all 6 members are done" in mlrun("resume", "many").out


@pytest.mark.slow
def test_a_run_of_members_can_be_extended(mlrun):
    mlrun(*MANY, "scheduler=constant", "trainer.epochs=8", "hydra.run.dir=whole")
    mlrun(*MANY, "scheduler=constant", "hydra.run.dir=many")
    assert mlrun("resume", "many", "trainer.epochs=8").code == 0
    assert Path("whole/pred.csv").read_bytes() == Path("many/pred.csv").read_bytes()


@pytest.mark.slow
def test_members_that_had_no_folder_yet_are_begun(mlrun, whole, finished):
    unbroken = whole(mlrun, *MANY)
    finished("broken", *MANY)
    shutil.rmtree("broken/members/fold_2_seed_1")
    Path("broken/pred.csv").unlink()
    assert mlrun("resume", "broken").code == 0
    assert Path("broken/pred.csv").read_bytes() == (unbroken / "pred.csv").read_bytes()


@pytest.mark.slow
def test_little_memory_makes_groups_and_no_difference(mlrun, whole):
    many = whole(mlrun, *MANY)
    mlrun(*MANY, "trainer.member_memory=1e-9", "hydra.run.dir=slowly")
    for name in NAMES:
        assert_same_run(many / "members" / name, Path("slowly/members", name))


@faults.not_finite
@pytest.mark.slow
def test_a_member_that_diverges_is_left_out_and_reported(mlrun, monkeypatch):
    take, failed = Native.train_epoch, Diverged("its loss is nan")

    def one_fails(self: Any, members: Any, stop: Any) -> list[Any]:
        losses = take(self, members, stop)
        return [failed if m.seed == 1 else loss for m, loss in zip(members, losses, strict=True)]

    monkeypatch.setattr(Native, "train_epoch", one_fails)
    answer = mlrun(*TINY, "quiet=false", "seeds=3", "hydra.run.dir=many")
    assert answer.code == 0
    assert "seed_1 diverged: its loss is nan" in answer.out
    assert "members      2, mean ± standard deviation" in answer.out
    assert run_record("many/members/seed_1")["status"] == "diverged"
    assert mlrun("predict", "many", "--members").code == 0
    assert [*table("many/pred_members.csv")[0]] == ["id", "seed_0", "seed_2", "disagreement"]


@faults.not_finite
@pytest.mark.slow
def test_where_all_diverge_the_run_does(mlrun):
    answer = mlrun(*TINY, "optimizer=sgd", "optimizer.lr=1e18", "seeds=2", "hydra.run.dir=many")
    assert (answer.code, answer.err.startswith("diverged: all members diverged: ")) == (1, True)
    assert run_record("many")["status"] == "diverged"
    answer = mlrun("resume", "many")
    assert answer.code == 2
    assert "all members diverged, so there is nothing to resume" in answer.err


@pytest.mark.slow
def test_a_member_in_training_elsewhere_is_reported(mlrun, finished):
    finished("many", *TWO, "scheduler=constant")
    with locked(open_run(Path("many/members/seed_1"))):
        answer = mlrun("resume", "many", "trainer.epochs=8")
    assert (answer.code, "another process is training in" in answer.err) == (2, True)


@pytest.mark.slow
def test_a_member_of_a_strangers_folder_makes_no_formula(mlrun, finished):
    finished("many", *TWO)
    Path("many/members/seed_1").rename("many/members/=1+1")
    assert mlrun("predict", "many", "--members").code == 0
    assert [*table("many/pred_members.csv")[0]][1:3] == ["'=1+1", "seed_0"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param("folds=1", "folds=1: must be at least 2, or null", marks=pytest.mark.slow),
        pytest.param("seeds=0", "seeds=0: must be at least 1, or null", marks=pytest.mark.slow),
        (
            "folds=3 data.split.method=time",
            "folds=3: data.split.method=time does not support folds",
        ),
        ("folds=3 ~data.split", "folds=3: this data class has no data.split.method"),
    ],
)
def test_what_cannot_be_members_is_refused(mlrun, words, message):
    answer = mlrun(*words.split())
    assert (answer.code, answer.err) == (2, f"error: {message}\n")
    assert not Path("outputs").exists()


@pytest.mark.parametrize("verb", [["export", "many", "--format", "onnx"], ["rerun", "many"]])
def test_a_command_for_one_model_lists_the_members(mlrun, finished, verb):
    finished("many", *TWO)
    answer = mlrun(*verb)
    assert answer.code == 2
    assert f"mlrun {verb[0]} many/members/NAME (seed_0, seed_1" in answer.err


def test_groups_stay_together_in_folds(mlrun, write_csv):
    rows = "".join(f"{i},{i // 3},{i * 1.5}\n" for i in range(30))
    write_csv("t.csv", "x,batch,y\n" + rows)
    split = ("data.split.method=group", "data.split.column=batch")
    words = ("task=csv", "data.train=t.csv", "folds=2", *split, "trainer.epochs=2")
    assert mlrun(*words, "quiet=true", "hydra.run.dir=many").code == 0
    for fold in range(2):
        valid = json.loads(Path(f"many/members/fold_{fold}/split.json").read_text())["valid"]
        assert valid
        assert all({3 * (row // 3) + k for k in range(3)} <= {*valid} for row in valid)


@pytest.mark.parametrize("target", ["y", "kind"])
@pytest.mark.slow
def test_folds_of_groups_predict_every_row_also_after_a_stop(mlrun, write_csv, target):
    rows = "".join(f"{i},{i * 7 % 17},g{i * i % 11},{i % 3},{i * 1.5}\n" for i in range(41))
    write_csv("t.csv", "n,x,batch,kind,y\n" + rows)
    split = ("data.split.method=group", "data.split.column=batch", "folds=4", "seeds=2")
    words = ("task=csv", "data.train=t.csv", f"data.target={target}", "trainer.epochs=3", *split)
    assert mlrun(*words, "hydra.run.dir=whole").code == 0
    stop = ("trainer.max_minutes=1e-9", "checkpoint.every_seconds=0")
    assert mlrun(*words, *stop, "hydra.run.dir=many").code == 0
    assert mlrun("resume", "many", "trainer.max_minutes=null").code == 0
    assert Path("many/pred.csv").read_bytes() == Path("whole/pred.csv").read_bytes()
    known = run_record("many")["metrics"]["out_of_fold"]
    assert known == run_record("whole")["metrics"]["out_of_fold"]
    found, truth = table("many/pred.csv"), table("t.csv")
    assert [row["id"] for row in found] == [str(i) for i in range(41)]
    pairs = [(row[target], true[target]) for row, true in zip(found, truth, strict=True)]
    if target == "kind":
        assert known["accuracy"] == pytest.approx(sum(a == b for a, b in pairs) / 41)
    else:
        error = sum((float(a) - float(b)) ** 2 for a, b in pairs) / 41
        assert known["mse"] == pytest.approx(error, rel=1e-4)


@pytest.mark.slow
def test_members_the_kernel_lacks_are_stacked_and_others_take_turns_which_is_reported(mlrun):
    words = ("model.activation=prelu", "quiet=false", *TINY[1:], "trainer.epochs=1", "seeds=4")
    assert "one after another" not in mlrun(*words, "hydra.run.dir=stacked").out
    output = mlrun(*words, "model.norm=batch", "hydra.run.dir=turns").out
    assert "one after another, not stacked: BatchNorm1d keeps running statistics" in output


@pytest.mark.parametrize("rows", [40, 41])  # folds of the same size and of different ones
@pytest.mark.parametrize(
    ("target", "predict", "column"),
    [("price", (), "price"), ("size", ("--proba",), "probability_big")],
)
@pytest.mark.slow
def test_without_a_test_file_every_row_is_predicted_by_those_that_did_not_train_on_it(
    mlrun, write_csv, rows, target, predict, column
):
    lines = [f"r{i},{i % 7},{100 + i},{'big' if i % 3 else 'small'}" for i in range(rows)]
    write_csv("t.csv", "\n".join(["id,area,price,size", *lines]) + "\n")
    words = ("task=csv", "data.train=t.csv", f"data.target={target}", "trainer.epochs=2")
    assert mlrun(*words, "folds=2", "seeds=2", "hydra.run.dir=many").code == 0
    predictions: dict[str, list[float]] = {}
    for member in Path("many/members").iterdir():
        assert mlrun("predict", str(member), *predict, "--output", "one.csv").code == 0
        for row in table("one.csv"):
            predictions.setdefault(row["id"], []).append(float(row[column]))
    written = Path("many/pred.csv").read_bytes()
    assert mlrun("predict", "many", "--output", "again.csv").code == 0
    assert Path("again.csv").read_bytes() == written
    assert mlrun("predict", "many", *predict, "--output", "all.csv").code == 0
    found = table("all.csv")
    assert [row["id"] for row in found] == [f"r{i}" for i in range(rows)]
    means = [sum(predictions[row["id"]]) / 2 for row in found]
    assert [float(row[column]) for row in found] == pytest.approx(means, rel=1e-5)
    assert "use --members with --input FILE" in mlrun("predict", "many", "--members").err
