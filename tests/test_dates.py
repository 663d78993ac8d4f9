"""Dates become numbers: the same as pandas', in training, prediction and export."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlrun.data.dates import DIGITS, FORMATS, ISO, PARTS, date_format, date_part

HOURS = pd.date_range("2024-01-29 05:00", periods=200, freq="7h")


def texts(*values: str) -> "np.ndarray[tuple[int], np.dtype[np.object_]]":
    return np.array(values, dtype=object)


@pytest.mark.parametrize("form", [form for form in FORMATS if form not in (ISO, *DIGITS.values())])
def test_the_format_of_dates_is_found_and_their_parts_are_pandas(form):
    written = HOURS.strftime(form).to_numpy(object)
    found = date_format(written)
    assert found == form
    days = HOURS if "%H" in form or "%I" in form else HOURS.normalize()
    days = days if "%d" in form else days.to_period("M").to_timestamp()
    for part in PARTS:
        wanted = getattr(days, "day_of_week" if part == "weekday" else part)
        assert date_part(written, form, part).tolist() == wanted.tolist()


def test_iso_dates_may_have_times():
    assert date_format(texts("2024-01-29", "2024-02-01T05:00:00")) == "ISO8601"


@pytest.mark.parametrize("word", ["a1234", "1234-56", "99/99/2024", "May", "1.1.1"])
def test_what_is_no_date_has_no_format(word):
    assert date_format(texts(word)) is None


@pytest.fixture
def by_the_hour(write_csv):
    """A table whose target is the hour of its only column."""
    lines = [f"{when},{when.hour}.5" for when in HOURS]
    return write_csv("when.csv", "\n".join(["when,y", *lines]) + "\n")


def test_a_model_learns_from_dates_and_reads_those_of_a_new_file(mlrun, by_the_hour, write_csv):
    train = ("task=csv", f"data.train={by_the_hour}", "trainer.epochs=60", "optimizer.lr=0.02")
    answer = mlrun(*train, "hydra.run.dir=run")
    assert answer.code == 0
    assert "when      dates; their format is ISO8601" in answer.out
    record = json.loads(Path("run/run.json").read_text())
    assert record["metrics"]["valid"]["r2"] > 0.98
    assert record["spec"]["features"] == ["when.month", "when.day", "when.weekday", "when.hour"]
    write_csv("new.csv", "when\n2024-02-10 13:00:00\n2024-02-11\n")
    assert mlrun("predict", "run", "--input", "new.csv", "--output", "p.csv").code == 0
    assert pd.read_csv("p.csv")["y"].to_numpy() == pytest.approx([13.5, 0.5], abs=1.5)


def test_a_date_in_another_format_than_in_training_is_refused(mlrun, by_the_hour, write_csv):
    train = ("task=csv", f"data.train={by_the_hour}", "debug=smoke", "quiet=true")
    assert mlrun(*train, "hydra.run.dir=run").code == 0
    write_csv("new.csv", "when\n2024-02-10\n10.02.2024\n")
    answer = mlrun("predict", "run", "--input", "new.csv")
    assert answer.code == 2
    assert "row 2, column 'when': '10.02.2024' is not a date as in training" in answer.err
