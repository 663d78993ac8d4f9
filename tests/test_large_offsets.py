"""Targets whose spread is small beside their mean: unix times, meter readings, ids."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

OFFSET, SLOPES = 1.6e9, (30.0, 20.0, 10.0)
FIT = ("model=linear", "optimizer.lr=0.05", "trainer.epochs=40", "trainer.patience=null")


@pytest.fixture
def times(write_csv):
    """A table whose target is linear in its features, 1.6e9 ± 37, with noise of 2."""
    random = np.random.RandomState(1)
    inputs = random.randn(400, 3)
    targets = (OFFSET + inputs @ SLOPES + random.randn(400) * 2).round(3)
    lines = [f"{a},{b},{c},{t:.3f}" for (a, b, c), t in zip(inputs, targets, strict=True)]
    write_csv("times.csv", "\n".join(["a,b,c,t", *lines]) + "\n")
    return inputs, targets


def rows_of(file: str) -> list[dict[str, str]]:
    with Path(file).open() as opened:
        return [*csv.DictReader(opened)]


def test_a_target_with_a_large_offset_keeps_its_digits(mlrun, times):
    inputs, targets = times
    data = ("task=csv", "data.train=times.csv", "data.target=t", "quiet=true", "hydra.run.dir=run")
    assert mlrun(*data, *FIT).code == 0
    split = json.loads(Path("run/split.json").read_text())
    train, valid = split["train"], split["valid"]
    ones = np.ones((len(inputs), 1))
    weights, *_ = np.linalg.lstsq(np.hstack([inputs, ones])[train], targets[train] - OFFSET)
    best = np.hstack([inputs, ones])[valid] @ weights
    errors = best - (targets[valid] - OFFSET)
    r2 = 1 - (errors @ errors) / len(valid) / targets[valid].var()
    found = json.loads(Path("run/run.json").read_text())["metrics"]["valid"]
    assert found["r2"] == pytest.approx(r2, abs=2e-3)

    written = np.array([float(row["t"]) for row in rows_of("run/pred.csv")])
    assert np.abs(written - OFFSET - best).max() < 5
    mse = float(np.square(written - targets[valid]).mean())
    assert mse == pytest.approx(found["mse"], rel=1e-4)


@pytest.mark.slow
def test_members_and_exports_keep_the_digits_too(mlrun, times):
    _, targets = times
    data = ("task=csv", "data.train=times.csv", "data.target=t", "quiet=true", "hydra.run.dir=run")
    assert mlrun(*data, *FIT, "folds=4").code == 0
    written = np.array([float(row["t"]) for row in rows_of("run/pred.csv")])
    assert np.square(written - targets).mean() < 6  # the noise alone: 4
    words = ("--input", "times.csv", "--members", "--output", "m.csv")
    assert mlrun("predict", "run", *words).code == 0
    members = [{k: float(v) for k, v in row.items()} for row in rows_of("m.csv")]
    assert max(abs(row["fold_0"] - t) for row, t in zip(members, targets, strict=True)) < 12
    assert all(0 < row["disagreement"] < 3 for row in members)
    answer = mlrun("export", "run/members/fold_0", "--format", "onnx", "--output", "m.onnx")
    assert answer.code == 0
