"""New rows in files that store numbers and dates as such, for models trained on spelled texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlrun import api
from mlrun.errors import MlrunError
from mlrun.runs.opened import Run

ROWS = 48
AMOUNTS = [round(1.234 + 137.125 * n, 3) for n in range(ROWS)]  # 1.234 might be 1234
TYPED = pd.DataFrame(
    {
        "amount": AMOUNTS,
        "count": [n % 5 for n in range(ROWS)],
        "day": pd.date_range("2024-01-01", periods=ROWS, freq="9D"),
        "kind": ["a", "b", "07"] * (ROWS // 3),
        "y": [round(3 * amount + 0.001, 3) for amount in AMOUNTS],
    }
)
FIT = ("task=csv", "data.target=y", "model=linear", "trainer.epochs=3", "optimizer.lr=0.1")


def euros(value: float) -> str:
    return f"{value:,.3f} €".translate(str.maketrans(",.", ".,"))


def commas(value: float) -> str:
    return str(value).replace(".", ",")


WRITE: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    "parquet": lambda table, path: table.to_parquet(path),
    "feather": lambda table, path: table.to_feather(path),
    "xlsx": lambda table, path: table.to_excel(path, index=False),
    "json": lambda table, path: table.to_json(path, orient="records", date_format="iso"),
}


@pytest.fixture(scope="module", params=[euros, commas], ids=["euros", "commas"])
def spelled_run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, Path]:
    """A run on a CSV file of decimal commas and German dates, and that file."""
    texts = {name: TYPED[name].map(request.param) for name in ("amount", "y")}
    days = TYPED["day"].dt.strftime("%d.%m.%Y")
    folder = tmp_path_factory.mktemp("spelled")
    file = folder / "t.csv"
    TYPED.assign(**texts, day=days).to_csv(file, sep=";", index=False)
    return api.train(*FIT, f"data.train={file}", f"hydra.run.dir={folder}/run", quiet=True), file


@pytest.mark.parametrize("form", WRITE)
@pytest.mark.slow
def test_stored_numbers_and_dates_need_no_spelling(spelled_run, form):
    run, file = spelled_run
    WRITE[form](TYPED, Path(f"new.{form}"))
    pd.testing.assert_frame_equal(run.predict(f"new.{form}"), run.predict(file))
    assert run.evaluate(f"new.{form}") == run.evaluate(file)


@pytest.mark.slow
def test_a_table_of_pandas_needs_no_spelling(spelled_run):
    run, file = spelled_run
    wanted = run.predict(file)
    for table in (TYPED, TYPED.astype({"kind": "category", "amount": object})):
        pd.testing.assert_frame_equal(run.predict(table), wanted)
        assert run.evaluate(table) == run.evaluate(file)
    texts = pd.read_csv(file, sep=";", dtype=str)
    pd.testing.assert_frame_equal(run.predict(texts), wanted)


@pytest.mark.slow
def test_a_typed_test_file_is_scored(spelled_run):
    _, file = spelled_run
    TYPED.to_parquet("test.parquet")
    words = (f"data.train={file}", "data.test=test.parquet", "hydra.run.dir=run")
    run = api.train(*FIT, *words, quiet=True)
    assert run.metrics["test"] == run.evaluate(file)["input"]


def test_texts_in_a_typed_file_keep_the_spelling_of_training(spelled_run):
    run, file = spelled_run
    texts = pd.read_csv(file, sep=";", dtype=str)["amount"]
    TYPED.assign(amount=texts).to_parquet("texts.parquet")
    pd.testing.assert_frame_equal(run.predict("texts.parquet"), run.predict(file))


def test_every_row_of_a_table_of_pandas_has_a_prediction():
    TYPED.to_csv("t.csv", index=False)
    run = api.train(*FIT, "data.train=t.csv", "hydra.run.dir=run", quiet=True)
    table = TYPED.astype(object)
    table.loc[3] = np.nan
    assert len(run.predict(table)) == ROWS


@pytest.mark.parametrize(
    ("settings", "how"),
    [
        (("data.header=none", "data.target=c5"), {"header": False}),
        (("data.encoding=cp1252", "data.target=y"), {"encoding": "cp1252"}),
        (("data.skip_rows=0", "data.separator=tab", "data.target=y"), {"sep": "\t"}),
    ],
)
@pytest.mark.slow
def test_settings_of_the_training_file_are_not_those_of_a_table(settings, how):
    table = TYPED.assign(kind=["ä", "ö", "ß"] * (ROWS // 3))
    table.to_csv("t.csv", index=False, **how)
    run = api.train(*FIT, "data.train=t.csv", *settings, "hydra.run.dir=run", quiet=True)
    if "header" in how:
        table = table.set_axis([f"c{n}" for n in range(1, 6)], axis=1)
    pd.testing.assert_frame_equal(run.predict(table), run.predict("t.csv"))


def test_a_table_with_a_name_twice_is_refused():
    TYPED.to_csv("t.csv", index=False)
    run = api.train(*FIT, "data.train=t.csv", "hydra.run.dir=run", quiet=True)
    twice = pd.concat([TYPED, TYPED[["amount"]]], axis=1)
    with pytest.raises(MlrunError, match="the table: columns 1 and 6 all have the name 'amount'"):
        run.predict(twice)
