"""On the real files, where they are: the scores the README promises.

Found through the MLRUN_DATA that the test run was started with; skipped where a file is missing.
"""

import json
import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("MLRUN_DATA", "data")).resolve()
pytestmark = [pytest.mark.data, pytest.mark.slow]


@pytest.fixture
def score(mlrun, monkeypatch):
    def run(*overrides: str) -> dict:
        task = next(word.removeprefix("task=") for word in overrides if word.startswith("task="))
        if not any((DATA / task).glob("*train*")):
            pytest.skip(f"no real files in {DATA / task}")
        monkeypatch.setenv("MLRUN_DATA", str(DATA))
        folder = mlrun(*overrides, "quiet=true").run
        record = json.loads((folder / "run.json").read_text())
        assert record["sample"] is False
        return {"folder": folder, **record["metrics"]}

    return run


def test_covid_lands_well_under_the_medium_baseline(score):
    assert score("task=covid", "model=mlp")["valid"]["mse"] < 1.2  # medium: 1.49430


def test_covid_linear_regression_trains_with_another_optimizer(score):
    overrides = ("task=covid", "model=linear", "optimizer=adamw", "optimizer.lr=3e-3")
    assert score(*overrides)["valid"]["mse"] < 1.2


def test_phone_price_is_right_nine_times_in_ten(score):
    result = score("task=phone_price")
    assert result["valid"]["accuracy"] >= 0.95
    lines = (result["folder"] / "pred.csv").read_text().splitlines()
    assert (lines[0], len(lines)) == ("id,price_range", 1001)


def test_mnist_mlp_reaches_97_5_per_cent(score):
    assert score("task=mnist")["test"]["accuracy"] >= 0.975


def test_mnist_cnn_reaches_99_per_cent_in_five_epochs(score):
    assert score("task=mnist", "model=cnn", "trainer.epochs=5")["test"]["accuracy"] >= 0.99
