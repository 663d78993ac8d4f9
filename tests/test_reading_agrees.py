"""Drawn tables: training, prediction and the program of an export read every cell alike."""

import csv
import io
import tempfile
from contextlib import chdir
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrun.export.reader import raw_inputs, read_texts
from tests.test_tabular import data_of

ROWS = 24
NUMBERS = st.lists(
    st.floats(-1e6, 1e6).map(lambda value: f"{value:.3f}"), min_size=ROWS, max_size=ROWS
)
WORDS = ["red", "Blue ", "07", "7", "2.0", "2", "TRUE", "true", "NA", "None", "x,y", 'a "b"', "ß"]
GAPS = ["", "n/a", "?", "-"]


def column(cells: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(cells), min_size=ROWS, max_size=ROWS)


COLUMNS = st.one_of(
    NUMBERS,
    NUMBERS.flatmap(lambda cells: column([*cells, *GAPS])),
    column(WORDS),
    column([*WORDS, ""]),
    column(["TRUE", "FALSE", ""]),
    st.lists(st.integers(1000, 10**7).map(lambda n: f"${n:,}"), min_size=ROWS, max_size=ROWS),
    st.lists(
        st.dates(date(2000, 1, 1), date(2029, 12, 31)).map(date.isoformat),
        min_size=ROWS,
        max_size=ROWS,
    ),
)


@given(st.lists(COLUMNS, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None, suppress_health_check=[*HealthCheck])
@pytest.mark.slow
def test_every_cell_is_read_alike(drawn):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["n", *(f"c{number}" for number in range(len(drawn))), "y"])
    writer.writerows(
        [number, *cells, f"{number / 4}"] for number, cells in enumerate(zip(*drawn, strict=True))
    )
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        Path("t.csv").write_text(text.getvalue(), encoding="utf-8")
        source = data_of("csv", train="t.csv", target="y", missing="auto")
        dataset = source.load()
        path = Path("t.csv")
        again = source.read_file(path, dataset.contract, dataset.spec, allow_unknown=True)
        theirs = raw_inputs(read_texts("t.csv"), dataset.contract)
    np.testing.assert_array_equal(again.inputs, theirs)
    for part in (dataset.train, dataset.valid):
        assert part.index is not None
        assert torch.equal(part.inputs.nan_to_num(-1), again.inputs[part.index].nan_to_num(-1))
        assert part.prepared(dataset.preprocess).isfinite().all()
    assert len(again) == ROWS
