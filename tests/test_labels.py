"""Class labels and categories come back as the file spells them, whatever they look like."""

import csv
import json
import operator
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from mlrun.data import table_file
from mlrun.runs.inference import evaluate

LABELS = [
    ("007", "010", "100"),
    ("None", "Low", "High"),
    ("NA", "DE", "nan"),
    ("None", "NA", "n/a"),
    ("TRUE", "FALSE", "maybe"),
    ("01", "1", "x"),
    ("-", "+", "?"),
]
ID = operator.itemgetter(0)
ROWS = 60
DATA = ("task=csv", "data.train=t.csv", "data.target=y", "quiet=true")
FIT = (*DATA, "model=linear", "optimizer.lr=0.5", "trainer.epochs=15")


def rows_of(path: Path | str) -> list[dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [*csv.DictReader(file)]


@pytest.fixture
def labels(request: Any, write_csv: Any) -> Any:
    """Three labels, and a table in which a number tells which one a row has."""
    lines = (f"r{n},{n % 3}.5,{request.param[n % 3]}\n" for n in range(ROWS))
    write_csv("t.csv", "id,x,y\n" + "".join(lines))
    return request.param


def right(rows: list[dict[str, str]], labels: tuple[str, ...]) -> bool:
    """Whether each row has its label, which a number in it tells."""
    return all(row["y"] == labels[int(row["id"][1:]) % 3] for row in rows)


@pytest.mark.parametrize("labels", LABELS, indirect=True, ids=ID)
def test_labels_are_those_of_the_file(mlrun, labels):
    assert mlrun(*FIT, "hydra.run.dir=run").code == 0
    assert right(rows_of("run/pred.csv"), labels)
    assert mlrun("predict", "run", "--input", "t.csv", "--proba", "--output", "p.csv").code == 0
    found = rows_of("p.csv")
    assert len(found) == ROWS
    assert right(found, labels)
    assert sorted(found[0]) == sorted(["id", "y", *(f"probability_{one}" for one in labels)])
    for row in found:
        shares = {one: float(row[f"probability_{one}"]) for one in labels}
        assert max(shares, key=lambda one: shares[one]) == row["y"]
    assert evaluate("run", input="t.csv")["input"]["accuracy"] == 1


@pytest.mark.parametrize("labels", LABELS[:2], indirect=True, ids=ID)
@pytest.mark.slow
def test_members_and_jobs_of_a_sweep_have_the_labels_of_the_file(mlrun, labels):
    assert mlrun(*FIT, "folds=4", "hydra.run.dir=many").code == 0
    found = rows_of("many/pred.csv")
    assert [row["id"] for row in found] == [f"r{n}" for n in range(ROWS)]
    assert right(found, labels)
    assert mlrun("predict", "many", "--input", "t.csv", "--members", "--output", "m.csv").code == 0
    assert all({row[f"fold_{k}"] for row in rows_of("m.csv")} == {*labels} for k in range(4))
    assert mlrun("-m", *FIT, "seed=0,1", "hydra.sweep.dir=sweep").code == 0
    assert all(right(rows_of(f"sweep/{job}/pred.csv"), labels) for job in range(2))


@pytest.mark.parametrize("labels", LABELS[:2], indirect=True, ids=ID)
@pytest.mark.slow
def test_labels_of_a_large_table_are_those_of_a_small_one(mlrun, labels, monkeypatch, tmp_path):
    monkeypatch.setattr(table_file, "BIG", 0)
    monkeypatch.setattr(table_file, "BLOCK", 50)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    assert mlrun(*FIT, "hydra.run.dir=run").code == 0
    assert [*(tmp_path / "cache" / "tables").iterdir()]
    assert right(rows_of("run/pred.csv"), labels)


def test_words_that_are_set_mean_a_missing_label(mlrun, write_csv):
    lines = (f"{n % 3}.5,{('yes', 'no', '?')[n % 3]}\n" for n in range(ROWS))
    write_csv("t.csv", "x,y\n" + "".join(lines))
    assert mlrun(*FIT, "data.na_values=[?]", "hydra.run.dir=run").code == 0
    record = json.loads(Path("run/run.json").read_text())
    assert record["spec"]["classes"] == ["no", "yes"]
    assert record["rows"]["train"] + record["rows"]["valid"] == ROWS * 2 // 3
    answer = mlrun("evaluate", "run", "--input", "t.csv")
    assert (answer.code, answer.err) == (
        2,
        "error: t.csv, row 3, column 'y': the target is missing\n",
    )


@pytest.mark.parametrize("code", ["-999", "-999.0"])
@pytest.mark.slow
def test_a_number_that_is_set_means_a_missing_target(mlrun, write_csv, code):
    lines = (f"{n},{code if n % 6 == 5 else n * 1.5}\n" for n in range(ROWS))
    write_csv("t.csv", "x,y\n" + "".join(lines))
    assert mlrun(*FIT, "data.na_values=[-999]", "hydra.run.dir=run").code == 0
    record = json.loads(Path("run/run.json").read_text())
    assert record["rows"]["train"] + record["rows"]["valid"] == ROWS * 5 // 6
    assert record["spec"]["target_center"] > 0
    answer = mlrun("evaluate", "run", "--input", "t.csv")
    assert (answer.code, answer.err) == (
        2,
        "error: t.csv, row 6, column 'y': the target is missing\n",
    )


def test_a_word_for_a_missing_number_is_a_missing_target_in_a_new_file(mlrun, write_csv):
    write_csv("t.csv", "x,y\n" + "".join(f"{n},{n * 1.5}\n" for n in range(ROWS)))
    write_csv("new.csv", "x,y\n1,1.5\n2,n/a\n")
    assert mlrun(*FIT, "hydra.run.dir=run").code == 0
    answer = mlrun("evaluate", "run", "--input", "new.csv")
    assert answer.err == "error: new.csv, row 2, column 'y': the target is missing\n"
