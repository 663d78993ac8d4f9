"""Large tables: read in pieces through the cache, they hold what a small one holds."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import platformdirs
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrun.data import rows, table_cache, table_file
from mlrun.data.cells import FileSettings
from mlrun.data.column_values import as_text
from mlrun.data.preprocess import apply
from mlrun.data.rows import Columns, Rows
from mlrun.data.table_file import read_table
from mlrun.errors import MlrunError
from tests.test_resume import TINY, assert_same_run

COMMA = FileSettings(decimal="comma")


@pytest.fixture
def everything_is_large(monkeypatch, tmp_path):
    """Every file is large, a piece has 30 bytes, the cache is empty; the folder of its tables."""
    monkeypatch.setattr(table_file, "BIG", 0)
    monkeypatch.setattr(table_file, "BLOCK", 30)
    monkeypatch.setattr(apply, "MOST_IN_MEMORY", 0)
    monkeypatch.setattr(rows, "AT_ONCE", 7)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda _: tmp_path / "cache")
    return tmp_path / "cache" / "tables"


def both(path: Path, monkeypatch: pytest.MonkeyPatch, **how: Any) -> list[pd.DataFrame]:
    """The table as a large and as a small one."""
    large = read_table(path, **how).table
    with monkeypatch.context() as patched:
        patched.setattr(table_file, "BIG", 2**60)
        return [large, read_table(path, **how).table]


cells = st.sampled_from(
    ["1", "-2.5", "3e300", "7.0", "", "NA", "a", "b c", "True", "False", '"x,y"', "nan"]
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=11))
@pytest.mark.slow
def test_a_large_table_holds_what_a_small_one_holds(everything_is_large, monkeypatch, lines):
    path = Path("t.csv")
    path.write_text("id,x,y\n" + "".join(",".join(line) + "\n" for line in lines))
    large, small = both(path, monkeypatch)
    assert [*large.columns] == [*small.columns]
    for name in small.columns:
        assert len(large[name]) == len(small[name])
        assert as_text(large[name]).tolist() == as_text(small[name]).tolist()


def test_numbers_are_mapped_and_not_copied(everything_is_large, write_csv):
    path = write_csv("t.csv", "x,y\n" + "1.5,2\n" * 10)
    first, second = read_table(path).table, read_table(path).table
    assert isinstance(second["x"].to_numpy().base, np.memmap | np.ndarray)
    assert not second["x"].to_numpy().flags.writeable
    pd.testing.assert_frame_equal(first, second)


def test_a_file_is_parsed_once_and_again_when_it_or_the_settings_change(
    everything_is_large, write_csv
):
    path = write_csv("t.csv", "x;y\n1,5;2\n" * 1)
    read_table(path, COMMA)
    read_table(path, COMMA)
    assert len([*everything_is_large.iterdir()]) == 1
    read_table(path, FileSettings(decimal="point"))
    assert len([*everything_is_large.iterdir()]) == 2
    os.utime(path, ns=(1, 1))
    write_csv("t.csv", "x;y\n2,5;2\n")
    assert read_table(path, COMMA).table["x"].tolist() == [2.5]


def test_only_a_limited_number_of_tables_is_kept(everything_is_large, write_csv, monkeypatch):
    monkeypatch.setattr(table_cache, "MOST_TABLES", 2)
    for number in range(4):
        read_table(write_csv("t.csv", f"x\n{number}\n"))
    assert len([*everything_is_large.iterdir()]) == 2


def test_a_full_cache_is_not_used(everything_is_large, write_csv, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert read_table(write_csv("t.csv", "x\n1.5\n")).table["x"].tolist() == [1.5]
    assert not [*everything_is_large.iterdir()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n3\n", "line 3: 1 field, but the header has 2"),
        ("x,y\n", "has a header but no rows"),
        ("\n", "is empty"),
        ("x,x\n1,2\n", "columns 1 and 2 all have the name 'x'"),
        ("x\n1\0\n", "contains zero bytes"),
    ],
)
def test_faults_are_reported_like_those_of_a_small_file(
    everything_is_large, tmp_path, text, message
):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(MlrunError, match=message):
        read_table(path)


def test_rows_can_be_prepared_in_pieces_in_any_order(monkeypatch):
    monkeypatch.setattr(rows, "AT_ONCE", 4)
    numbers = np.arange(20.0)
    source = Columns([numbers, -numbers], memory_budget=1e9)
    some = Rows(source, None, [*range(20)]).take([7, 3, 19, 0, 11, 5])
    prepared = some.prepared(lambda raw: raw.float() * 2)
    assert prepared[:, 0].tolist() == [14, 6, 38, 0, 22, 10]
    assert torch.equal(
        some.take([1, 2]).inputs, torch.tensor([[3.0, -3.0], [19.0, -19.0]]).double()
    )


def test_rows_beyond_the_memory_budget_are_mapped():
    source = Columns([np.arange(20.0)], memory_budget=10)
    prepared = Rows(source, None, [*range(20)]).prepared(torch.Tensor.float)
    assert prepared.flatten().tolist() == [*range(20)]
    assert source.empty(2, 1).untyped_storage().nbytes() == 8


@pytest.mark.slow
def test_a_run_on_a_large_table_is_the_run_on_a_small_one(mlrun, everything_is_large, monkeypatch):
    monkeypatch.setattr(table_file, "BLOCK", 20_000)
    monkeypatch.setattr(rows, "AT_ONCE", 500)
    mlrun(*TINY, "hydra.run.dir=large")
    mlrun(*TINY, "data.memory_budget=1e-9", "hydra.run.dir=streamed")
    assert len([*everything_is_large.iterdir()]) == 2
    for module, name in ((table_file, "BIG"), (apply, "MOST_IN_MEMORY")):
        monkeypatch.setattr(module, name, 2**60)
    mlrun(*TINY, "hydra.run.dir=small")
    assert_same_run(Path("small"), Path("large"))
    assert_same_run(Path("small"), Path("streamed"))
    assert json.loads(Path("large/run.json").read_text())["status"] == "done"
