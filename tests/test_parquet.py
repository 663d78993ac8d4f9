"""Parquet files read as the CSV files that hold the same."""

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import platformdirs
import pyarrow as pa
import pytest
from pyarrow import parquet

from mlrun.data import table_file
from mlrun.data.cells import FileSettings
from mlrun.data.column_values import as_numbers, as_text
from mlrun.data.table_file import read_table
from mlrun.errors import MlrunError
from tests.test_resume import TINY

PLAIN: dict[str, list[Any]] = {
    "id": [7, 8, None, 10],
    "size": [1.5, None, 3.0, -2.0],
    "rooms": [1, 2, 3, 4],
    "new": [True, False, True, True],
    "kind": ["a", None, "b c", "7"],
    "sold": [datetime.date(2026, 11, 21)] * 4,
    "price": [Decimal("1.50"), Decimal("2.25"), None, Decimal("0.00")],
}


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    parquet.write_table(pa.table(columns), path)
    return path


@pytest.fixture(params=["small", "large"])
def size(request, monkeypatch, tmp_path):
    """The same file read whole, and in pieces through the cache."""
    monkeypatch.setattr(table_file, "BIG", 0 if request.param == "large" else 2**60)
    monkeypatch.setattr(table_file, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda _: tmp_path / "cache")


def test_a_file_holds_what_its_csv_holds(size, workdir):
    found = read_table(write(workdir / "t.parquet", PLAIN)).table
    pa.table(PLAIN).to_pandas().astype({"id": "Int64"}).to_csv("t.csv", index=False)
    wanted = read_table(workdir / "t.csv").table
    assert [*found] == [*wanted]
    for name in ("id", "kind", "sold", "new"):
        assert as_text(found[name]).tolist() == as_text(wanted[name]).tolist()
    for name in ("size", "rooms", "price"):
        numbers = [as_numbers(t[name], Path("t")) for t in (found, wanted)]
        np.testing.assert_array_equal(numbers[0], numbers[1])


def test_categories_are_texts_and_an_index_is_a_column(size, workdir):
    frame = pd.DataFrame({"kind": pd.Categorical(["a", "b", "a"])}, index=[3, 4, 5])
    frame.to_parquet(workdir / "t.parquet")
    found = read_table(workdir / "t.parquet").table
    assert found["kind"].tolist() == ["a", "b", "a"]
    assert found.index.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [[1, 2]]}, r"t\.parquet, column 'x' contains list<.*> values, not numbers or texts"),
        ({"x": [b"1"]}, r"t\.parquet, column 'x' contains binary values"),
        ({"x": pa.array([], pa.int64())}, r"t\.parquet has columns but no rows"),
    ],
)
def test_what_is_no_table_of_values_is_refused(workdir, columns, message):
    with pytest.raises(MlrunError, match=message):
        read_table(write(workdir / "t.parquet", columns))


def test_what_is_no_parquet_file_is_refused(workdir):
    Path("t.parquet").write_text("x\n1\n")
    with pytest.raises(MlrunError, match=r"t\.parquet cannot be read as Parquet: "):
        read_table(Path("t.parquet"))
    with pytest.raises(MlrunError, match=r"cannot read none\.parquet: "):
        read_table(Path("none.parquet"))


def test_two_columns_of_a_name_are_refused_or_numbered(workdir):
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    parquet.write_table(twice, "t.parquet")
    with pytest.raises(MlrunError, match="columns 1 and 2 all have the name 'x'"):
        read_table(Path("t.parquet"))
    assert [*read_table(Path("t.parquet"), FileSettings(duplicates="number")).table] == ["x", "x.1"]


@pytest.mark.slow
def test_a_run_on_parquet_predicts_what_the_run_on_csv_does(mlrun, write_csv):
    lines = [f"{n},{n % 7},{'ab'[n % 2]},{n % 7 * 0.5 + n % 2}" for n in range(40)]
    csv = write_csv("t.csv", "\n".join(["id,x,kind,y", *lines]) + "\n")
    pd.read_csv(csv).to_parquet("t.parquet")
    for kind in ("csv", "parquet"):
        words = ["task=csv", f"data.train=t.{kind}", "data.dir=.", "data.target=y", *TINY]
        assert mlrun(*words, f"hydra.run.dir={kind}").code == 0
    assert mlrun("predict", "parquet", "--input", "t.parquet", "--output", "new.csv").code == 0
    assert mlrun("predict", "csv", "--input", "t.csv", "--output", "old.csv").code == 0
    for one, other in (("csv/pred.csv", "parquet/pred.csv"), ("old.csv", "new.csv")):
        assert Path(one).read_text() == Path(other).read_text()
