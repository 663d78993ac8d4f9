"""Class weights against scikit-learn, and how a wrong weight is refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from mlrun.data.dataset import Spec
from mlrun.errors import MlrunError
from mlrun.training.class_weights import weight_arguments

CROSS_ENTROPY, BINARY = "torch.nn.CrossEntropyLoss", "torch.nn.BCEWithLogitsLoss"
RUN = ("task=csv", "data.train=my.csv", "trainer.epochs=3", "quiet=true", "hydra.run.dir=run")


def spec(*rows: int) -> Spec:
    classes = ("low", "mid", "top")[: len(rows)]
    return Spec("classification", (2,), len(rows), classes, target="y", rows_per_class=rows)


@pytest.fixture
def rare(write_csv):
    """One row in eight is of the class `yes`."""
    random = np.random.RandomState(0)
    rows = [f"{x:.3f},{'yes' if i % 8 == 0 else 'no'}" for i, x in enumerate(random.randn(120))]
    return write_csv("my.csv", "\n".join(["x,y", *rows]) + "\n")


def test_balanced_weights_are_scikit_learns():
    labels = [0] * 50 + [1] * 9 + [2] * 3
    wanted = compute_class_weight("balanced", classes=np.array([0, 1, 2]), y=labels)
    found = weight_arguments(CROSS_ENTROPY, "balanced", spec(50, 9, 3))["weight"]
    assert found.tolist() == pytest.approx(wanted.tolist())


@pytest.mark.parametrize("weight", [[2.0, 6.0], {"mid": 6.0, "low": 2.0}])
def test_weights_of_two_classes_are_those_of_zeros_and_ones_in_binary_cross_entropy(weight):
    found = weight_arguments(BINARY, weight, spec(5, 5))
    assert found["weight"].item() == 2.0  # of both
    assert (found["weight"] * found["pos_weight"]).item() == 6.0


@pytest.mark.parametrize("words", [(), ("loss=cross_entropy",)])
@pytest.mark.slow
def test_the_loss_of_a_run_is_the_weighted_one(mlrun, rare, words):
    assert mlrun(*RUN, *words, "loss.weight=[1,7]").code == 0
    assert mlrun("predict", "run", "--proba", "--output", "p.csv").code == 0
    valid = json.loads(Path("run/split.json").read_text())["valid"]
    truth = pd.read_csv(rare)["y"].to_numpy()[valid]
    shares = pd.read_csv("p.csv")[["probability_no", "probability_yes"]].to_numpy()
    shares /= shares.sum(axis=1, keepdims=True)  # they are written as float32
    weights = np.where(truth == "yes", 7.0, 1.0)
    wanted = log_loss(truth == "yes", shares, sample_weight=weights)
    found = json.loads(Path("run/run.json").read_text())["metrics"]["valid"]["loss"]
    assert found == pytest.approx(wanted, rel=1e-5)


def test_balanced_weights_count_the_training_rows_alone(mlrun, rare):
    assert mlrun(*RUN, "loss.weight=balanced", "seeds=2").code == 0
    train = json.loads(Path("run/members/seed_0/split.json").read_text())["train"]
    counts = pd.read_csv(rare)["y"].iloc[train].value_counts()
    found = json.loads(Path("run/run.json").read_text())["spec"]["rows_per_class"]
    assert found == [counts["no"], counts["yes"]]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ("even", "must be balanced, a list of numbers, or {LABEL: number}"),
        ([1.0, 2.0], "has 2 numbers. The 3 classes are low, mid, top"),
        ([1.0, 2.0, 0.0], "each weight must be a number above 0"),
        ([1.0, 2.0, "x"], "each weight must be a number above 0"),
        ({"tpo": 2.0}, "'tpo' is not a class. Did you mean 'top'?"),
    ],
)
def test_wrong_weights_are_refused(weight, message):
    with pytest.raises(MlrunError) as caught:
        weight_arguments(CROSS_ENTROPY, weight, spec(5, 5, 5))
    assert message in str(caught.value)


def test_weights_without_classes_are_refused(mlrun, write_csv):
    write_csv("my.csv", "x,y\n" + "".join(f"{n},{n}.5\n" for n in range(40)))
    answer = mlrun(*RUN, "loss.weight=balanced")
    assert (answer.code, Path("run").exists()) == (2, False)
    assert "class weights need a classification" in answer.err
