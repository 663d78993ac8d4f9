"""The run folder: claimed alone, written whole, read with care."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlrun.errors import MlrunError
from mlrun.runs.folder import RunFolder, claim, claim_exactly, open_run
from mlrun.runs.metrics_file import MetricsFile
from mlrun.system.files import as_json, read_json
from tests import faults


@faults.same_second
def test_starts_in_the_same_second_get_folders_of_their_own(workdir):
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda _: claim_exactly(workdir / "day", "run"), range(8)))
    names = {path.name for path in claimed}
    assert names == {"run", *(f"run_{number}" for number in range(2, 9))}


def test_a_folder_is_named_by_day_time_and_run(workdir):
    path = claim("outputs", "covid_mlp").relative_to("outputs")
    assert len(path.parts) == 2
    assert path.name.endswith("_covid_mlp")


def test_a_file_in_the_way_and_a_read_only_place_are_reported(workdir):
    (workdir / "outputs").write_text("")
    with pytest.raises(MlrunError, match=r"cannot create .*paths\.outputs"):
        claim("outputs", "x")


def test_numbers_that_json_lacks_become_null():
    assert json.loads(as_json({"a": float("nan"), "b": [float("inf"), 1.5]})) == {
        "a": None,
        "b": [None, 1.5],
    }


def test_metrics_rows_without_a_validation_have_empty_cells(workdir):
    metrics = MetricsFile(workdir / "metrics.csv", ["epoch", "valid/loss"])
    metrics.add({"epoch": 1})
    metrics.add({"epoch": 2, "valid/loss": 0.25})
    metrics.flush()
    assert (workdir / "metrics.csv").read_text() == "epoch,valid/loss\n1,\n2,0.25\n"


def test_run_json_is_updated_in_place(workdir):
    run = RunFolder(workdir)
    run.update(format=2, status="running")
    run.update(status="done")
    assert open_run(workdir).record == {"format": 2, "status": "done"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a run folder"),
        ("{", "damaged"),
        ("[]", "format 2"),
        ('{"format": 1}', "format 2"),
    ],
)
def test_what_is_no_run_folder_is_refused(workdir, content, message):
    if content is not None:
        (workdir / "run.json").write_text(content)
    with pytest.raises(MlrunError, match=message):
        open_run(workdir)


@pytest.mark.parametrize(("make", "reason"), [(Path.mkdir, "Is a dir"), (None, "No such file")])
def test_a_file_that_cannot_be_read_is_reported_without_error_numbers(workdir, make, reason):
    path = workdir / "split.json"
    if make is not None:
        make(path)
    with pytest.raises(MlrunError, match=f"split.json cannot be read: {reason}") as caught:
        read_json(path)
    assert "Errno" not in str(caught.value)


def test_a_misspelt_run_folder_gets_a_suggestion(workdir):
    (workdir / "10-15-00_covid_mlp").mkdir()
    with pytest.raises(MlrunError, match="Did you mean '10-15-00_covid_mlp'"):
        open_run(workdir / "10-15-00_covid_mpl")
