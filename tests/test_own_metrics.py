"""Metrics of the user's own: from conf/metric to metrics.csv, sweeps, members and evaluate."""

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mlrun as api
from mlrun.config.allowlist import allowing
from mlrun.config.schema import own_metrics
from mlrun.data.dataset import Spec
from mlrun.errors import MlrunError
from mlrun.training.metrics import check_objectives, higher_is_better
from mlrun.training.own_metrics import build_metrics

SCORES = '''
import numpy as np


def bias(targets, predictions):
    """The mean error, absolute."""
    return abs(np.mean(predictions - targets))


class Within:
    """The share of errors up to a limit."""

    def __init__(self, limit: float) -> None:
        self.limit = limit

    def __call__(self, targets, predictions):
        return np.mean(np.abs(predictions - targets) <= self.limit)


def surprise(targets, predictions, probabilities):
    return float(-np.log(probabilities[np.arange(len(targets)), targets]).mean())


def broken(targets, predictions):
    return targets["no"]


def rows(targets, predictions):
    return targets - predictions


def steals(targets, predictions):
    targets[:] = predictions
    return 0.0


def alone(targets):
    return 0.0
'''
NODES = {
    "bias": "bias:\n  _target_: metrics1.bias\n  higher_is_better: false\n",
    "within": "within:\n  _target_: metrics1.Within\n  higher_is_better: true\n  limit: 1.0\n",
    "surprise": "surprise:\n  _target_: metrics1.surprise\n  higher_is_better: false\n",
}
ALLOW = "allow=[metrics1.*]"
SMALL = ("trainer.epochs=3", "quiet=true", ALLOW)
REGRESSION = Spec("regression", (2,), 1, target="y")
CLASSES = Spec("classification", (2,), 2, classes=("no", "yes"), target="y")


@pytest.fixture(autouse=True)
def own(write_csv, monkeypatch):
    """The module metrics1 and conf/metric/."""
    write_csv("metrics1.py", SCORES)
    for name, text in NODES.items():
        write_csv(f"conf/metric/{name}.yaml", f"# {name}\n{text}")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.delitem(__import__("sys").modules, "metrics1", raising=False)


def rows_of(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "metrics.csv").read_text().splitlines()))


def record_of(run: Path) -> dict:
    found: dict = json.loads((run / "run.json").read_text())
    return found


def test_a_function_is_scored_every_epoch_recorded_and_the_same_in_evaluate(mlrun):
    run = mlrun("metric=bias", *SMALL).run
    assert [float(row["valid/bias"]) >= 0 for row in rows_of(run)] == [True] * 3
    metrics = record_of(run)["metrics"]
    assert metrics["valid"]["bias"] == float(
        rows_of(run)[record_of(run)["best_epoch"] - 1]["valid/bias"]
    )
    assert f"bias {metrics['train']['bias']:.4f}" in mlrun("evaluate", str(run), ALLOW).out
    node = {"_target_": "metrics1.bias", "higher_is_better": False}
    assert record_of(run)["config"]["metric"] == {"bias": node}


@pytest.mark.slow
def test_the_hints_name_the_permission_once(mlrun):
    words = ("metric=bias", "trainer.epochs=1", ALLOW)
    lines = mlrun(*words, ALLOW).out.splitlines()
    hints = [line for line in lines if line.startswith(("score again", "new rows"))]
    assert [hint.partition(" allow=")[2] for hint in hints] == ["[metrics1.*]"] * 2
    out = mlrun("-m", *words, "seed=0,1").out
    assert [line.count("metrics1") for line in out.splitlines() if "allow=" in line] == [1, 1]


@pytest.mark.slow
def test_its_value_is_that_of_the_predictions_that_are_written(mlrun):
    run = mlrun("metric=within", "metric.within.limit=0.7", "data.test=null", *SMALL).run
    truth = pd.read_csv("data/sample/covid/covid.train.csv")
    both = pd.read_csv(run / "pred.csv").merge(truth, on="id")
    errors = (both.iloc[:, 1] - both.iloc[:, -1]).abs().to_numpy()
    assert record_of(run)["metrics"]["valid"]["within"] == pytest.approx(np.mean(errors <= 0.7))


def test_without_permission_neither_training_nor_opening_works(mlrun):
    run = mlrun("metric=bias", *SMALL).run
    for words in (("metric=bias", "trainer.epochs=1"), ("evaluate", str(run))):
        answer = mlrun(*words)
        assert answer.code == 2
        assert "refused; for your own function: allow=[metrics1.bias]" in answer.err


@pytest.mark.parametrize(("name", "best"), [("bias", min), ("within", max)])
def test_it_can_choose_the_best_epoch(mlrun, name, best):
    run = mlrun(f"metric={name}", f"trainer.monitor=valid/{name}", *SMALL).run
    values = [float(row[f"valid/{name}"]) for row in rows_of(run)]
    assert record_of(run)["best_score"] == best(values)


@pytest.mark.slow
def test_a_scheduler_watches_it_in_its_direction(mlrun):
    words = ("metric=within", "trainer.monitor=valid/within", "scheduler=plateau")
    assert mlrun(*words, "scheduler.mode=min", *SMALL).err.count("for which max is right") == 1
    assert mlrun(*words, *SMALL).code == 0


@pytest.mark.slow
def test_a_resumed_run_has_it_too(mlrun):
    whole = mlrun("metric=[bias,within]", "scheduler=constant", *SMALL).run
    part = mlrun("metric=[bias,within]", "scheduler=constant", *SMALL, "trainer.epochs=1").run
    assert mlrun("resume", str(part), "trainer.epochs=3", ALLOW).code == 0
    names = ("valid/bias", "valid/within")
    wanted = [[row[name] for name in names] for row in rows_of(whole)]
    assert [[row[name] for name in names] for row in rows_of(part)] == wanted


@pytest.mark.slow
def test_members_and_folds_are_scored_together(mlrun):
    run = mlrun("metric=within", "folds=2", *SMALL).run
    record = record_of(run)
    assert 0 <= record["metrics"]["out_of_fold"]["within"] <= 1
    assert len(record["members"]["valid"]["within"]) == 2
    assert "within" in mlrun("evaluate", str(run), ALLOW).out


@pytest.mark.slow
def test_probabilities_are_given_to_a_metric_that_names_them(mlrun):
    words = ("task=phone_price", "metric=surprise", "trainer.l1=0")
    run = mlrun(*words, *SMALL).run
    for row in rows_of(run):  # what cross entropy measures
        assert float(row["valid/surprise"]) == pytest.approx(float(row["valid/loss"]), rel=1e-4)
    folded = mlrun(*words, "folds=2", *SMALL).run
    assert math.isfinite(record_of(folded)["metrics"]["out_of_fold"]["surprise"])


@pytest.mark.slow
def test_a_sweep_ranks_by_it_in_its_direction_and_shows_without_permission(mlrun):
    words = ("metric=within", "trainer.monitor=valid/within", "optimizer.lr=1e-5,1e-2")
    assert mlrun("-m", *words, *SMALL, "hydra.sweep.dir=sweep").code == 0
    ranking = json.loads(Path("sweep/sweep.json").read_text())["ranking"]
    means = [one["mean"] for one in ranking]
    assert means == sorted(means, reverse=True)
    assert means[0] > means[1]
    assert "valid/within" in mlrun("show", "sweep").out


def test_it_can_be_an_objective_of_a_sweep(mlrun):
    words = ("metric=within", "model.hidden=[2],[8]", "sweep.objectives=[valid/within,parameters]")
    assert mlrun("-m", *words, *SMALL, "hydra.sweep.dir=sweep").code == 0
    [front] = json.loads(Path("sweep/sweep.json").read_text())["fronts"]
    scores = [one["objectives"]["valid/within"] for one in front]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.slow
def test_from_python():
    run = api.train("metric=bias", "trainer.epochs=2", "quiet=true", allow=["metrics1.bias"])
    assert list(run.history["valid/bias"]) == [
        float(row["valid/bias"]) for row in rows_of(run.path)
    ]
    assert run.evaluate()["valid"]["bias"] == run.metrics["valid"]["bias"]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "metrics1.bias"}, "higher_is_better=None: must be true or false"),
        ("metrics1.bias", "must have NAME: {_target_: …"),
        ({"_target_": "metrics1.Within", "higher_is_better": True}, "metric.x.limit is not set"),
        (
            {"_target_": "metrics1.bias", "higher_is_better": True, "a": 1},
            "unknown key 'metric.x.a'",
        ),
        ({"_target_": "metrics1.alone", "higher_is_better": True}, "must take targets and pred"),
        ({"_target_": "metrics1.np", "higher_is_better": True}, "no such function or class"),
        ({"_target_": "metrics1.bais", "higher_is_better": True}, "Did you mean 'bias'?"),
        ({"_target_": "metrics1.surprise", "higher_is_better": True}, "needs probabilities"),
    ],
)
def test_a_node_that_cannot_be_built_is_refused(node, message):
    with allowing(["metrics1.*"]), pytest.raises(MlrunError, match=re.escape(message)):
        build_metrics({"metric": {"x": node}}, REGRESSION)


def test_a_name_of_a_built_in_score_is_refused():
    node = {"_target_": "metrics1.bias", "higher_is_better": False}
    with allowing(["metrics1.*"]), pytest.raises(MlrunError, match="belongs to a built-in score"):
        build_metrics({"metric": {"mse": node}}, REGRESSION)


def test_a_function_that_its_module_only_imports_is_refused(write_csv):
    write_csv("metrics2.py", "from shutil import rmtree\nfrom subprocess import Popen\n")
    for name in ("rmtree", "Popen"):
        node = {"_target_": f"metrics2.{name}", "higher_is_better": True}
        with allowing(["metrics2.*"]), pytest.raises(MlrunError, match="refused; it belongs to"):
            build_metrics({"metric": {"x": node}}, REGRESSION)


@pytest.mark.parametrize(
    ("name", "message"),
    [("broken", "metric.x: IndexError: "), ("rows", "must return a number, not ndarray of shape")],
)
@pytest.mark.slow
def test_a_metric_that_fails_is_found_before_a_folder_is_made(mlrun, write_csv, name, message):
    write_csv("conf/metric/x.yaml", f"x: {{_target_: metrics1.{name}, higher_is_better: true}}\n")
    answer = mlrun("metric=x", *SMALL)
    assert answer.code == 2
    assert message in answer.err
    assert not Path("outputs").exists()


@pytest.mark.slow
def test_a_metric_cannot_change_the_targets(mlrun, write_csv):
    text = "x: {_target_: metrics1.steals, higher_is_better: true}\n"
    write_csv("conf/metric/x.yaml", text)
    lone = record_of(mlrun(*SMALL).run)["metrics"]["valid"]
    stolen = record_of(mlrun("metric=x", *SMALL).run)["metrics"]["valid"]
    assert stolen == lone | {"x": 0.0}


def test_functions_of_a_package_are_metrics_too():
    node = {"_target_": "sklearn.metrics.fbeta_score", "higher_is_better": True, "beta": 2}
    with allowing(["sklearn.metrics.fbeta_score"]):
        [metric] = build_metrics({"metric": {"f2": node}}, CLASSES)
    assert metric(np.array([0, 1, 1]), np.array([0, 1, 0]), None) == pytest.approx(5 / 9)


def test_a_missing_option_says_where_its_file_belongs(mlrun):
    answer = mlrun("metric=mape")
    assert answer.err.startswith("error: no option 'mape' in group 'metric'. ")
    assert "conf/metric/mape.yaml" in answer.err
    assert "metric= names no option" in mlrun("metric=").err


def test_directions_are_known_from_the_configuration_alone():
    own = {"within": {"higher_is_better": True}, "bias": {"higher_is_better": False}}
    assert own_metrics({"metric": own}) == own
    found = [higher_is_better(f"valid/{name}", "auto", own) for name in ("within", "bias", "r2")]
    assert found == [True, False, True]
    check_objectives(["valid/within", "parameters"], [*own])
    with pytest.raises(MlrunError, match=re.escape("unknown 'valid/withn'")):
        check_objectives(["valid/withn", "parameters"], [*own])
