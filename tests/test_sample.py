"""The stand-ins: when they are used, and that they look like the real files."""

import hashlib
from pathlib import Path

import pandas as pd
import pooch
import pytest

from mlrun.data.images import read_idx
from mlrun.data.sample import PHONE, STATES, write_sample
from mlrun.errors import MlrunError

from .conftest import WHOLE_SAMPLE
from .test_tabular import data_of

TASKS = ("covid", "phone_price", "mnist")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/sample/ with the files of all tasks at full size, written once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("samples"))
        patch.setattr("mlrun.data.sample.ROWS", WHOLE_SAMPLE)
        folders = [write_sample(task).resolve() for task in TASKS]
    return folders[0].parent


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


# --- when it is used ------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_a_task_without_files_runs_on_its_sample(task):
    dataset = data_of(task).load()
    assert dataset.sample
    assert all(path.parent == Path("data/sample") / task for path in dataset.files.values())


@pytest.mark.parametrize("task", ["covid", "mnist"])
def test_recorded_files_are_no_sample(task):
    files = data_of(task).load().files
    assert not data_of(task).load(files=files).sample


def test_a_folder_the_user_named_is_never_replaced():
    with pytest.raises(MlrunError, match="no folder elsewhere"):
        data_of("covid", dir="elsewhere").load()


def test_a_data_folder_the_user_named_is_never_replaced(monkeypatch):
    monkeypatch.setenv("MLRUN_DATA", "elsewhere")
    with pytest.raises(MlrunError, match="no folder elsewhere/covid"):
        data_of("covid").load()


def test_a_file_of_ones_own_is_never_replaced():
    Path("data/covid").mkdir(parents=True)
    Path("data/covid/covid-train.csv").touch()
    with pytest.raises(MlrunError, match=r"no file covid\.train\.csv.*found: covid-train"):
        data_of("covid").load()


def test_a_download_is_no_reason_for_the_sample(monkeypatch):
    monkeypatch.setattr(pooch, "retrieve", lambda *_, **__: None)
    with pytest.raises(MlrunError, match="no folder data/mnist"):
        data_of("mnist", download=True).load()


# --- what it is -----------------------------------------------------------------------------


@pytest.mark.sample
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.slow
def test_a_sample_has_the_same_bytes_each_time(task, samples):
    assert digests(write_sample(task)) == digests(samples / task)


@pytest.mark.sample
def test_a_sample_that_was_changed_is_written_anew(samples):
    path = write_sample("phone_price") / "train.csv"
    path.write_text("changed")
    write_sample("phone_price")
    assert path.read_bytes() == (samples / "phone_price" / "train.csv").read_bytes()


def test_a_sample_that_cannot_be_written_is_reported(workdir):
    (workdir / "data").touch()
    with pytest.raises(MlrunError, match="cannot write sample data to data/sample/covid"):
        write_sample("covid")


def test_the_covid_sample_has_the_real_files_columns(samples):
    train = pd.read_csv(samples / "covid" / "covid.train.csv")
    test = pd.read_csv(samples / "covid" / "covid.test.csv")
    assert train.shape == (2699, 118)
    assert test.shape == (1078, 117)
    assert train.columns[:38].tolist() == ["id", *STATES]
    assert train.columns[38:54].tolist() == [*train.columns[38:53], "tested_positive"]
    assert train.columns[-1] == "tested_positive.4"
    assert test.columns.tolist() == train.columns[:-1].tolist()


def test_a_row_of_the_covid_sample_is_in_one_state(samples):
    train = pd.read_csv(samples / "covid" / "covid.train.csv")
    assert (train[STATES].sum(axis=1) == 1).all()


def test_the_covid_samples_target_follows_the_day_before_and_the_symptoms(samples):
    train = pd.read_csv(samples / "covid" / "covid.train.csv")
    linked = train[["tested_positive.3", "cli.4", "anxious"]].corrwith(train["tested_positive.4"])
    assert linked["tested_positive.3"] > 0.95
    assert linked["cli.4"] > 0.5
    assert abs(linked["anxious"]) < 0.1


def test_the_covid_samples_percentages_are_some(samples):
    train = pd.read_csv(samples / "covid" / "covid.train.csv").drop(columns="id")
    assert train.to_numpy().min() >= 0
    assert train.to_numpy().max() <= 100


def test_the_phone_price_sample_has_the_real_files_columns(samples):
    train = pd.read_csv(samples / "phone_price" / "train.csv")
    test = pd.read_csv(samples / "phone_price" / "test.csv")
    columns = [name for name, *_ in PHONE]
    assert train.columns.tolist() == [*columns, "price_range"]
    assert test.columns.tolist() == ["id", *columns]
    assert (len(train), len(test)) == (2000, 1000)


def test_the_phone_price_samples_classes_are_balanced(samples):
    train = pd.read_csv(samples / "phone_price" / "train.csv")
    assert train["price_range"].value_counts().to_dict() == {0: 500, 1: 500, 2: 500, 3: 500}


def test_the_phone_price_samples_classes_follow_the_memory(samples):
    train = pd.read_csv(samples / "phone_price" / "train.csv")
    linked = train[["ram", "battery_power", "wifi"]].corrwith(train["price_range"])
    assert linked["ram"] > 0.8
    assert linked["battery_power"] > 0.1
    assert abs(linked["wifi"]) < 0.1


@pytest.mark.parametrize("name", [name for name, *_ in PHONE])
def test_the_phone_price_samples_values_lie_in_the_real_range(name, samples):
    values = pd.read_csv(samples / "phone_price" / "train.csv")[name]
    low, high = next((low, high) for other, low, high, _ in PHONE if other == name)
    assert values.between(low, high).all()


def test_the_mnist_sample_has_28_by_28_pixels(samples):
    images = read_idx(samples / "mnist" / "train-images-idx3-ubyte.gz", dimensions=3)
    assert images.shape == (1437, 28, 28)
    assert (images.min(), images.max()) == (0, 255)


def test_the_mnist_sample_has_ten_classes_on_both_sides(samples):
    for stem, count in (("train", 1437), ("t10k", 360)):
        labels = read_idx(samples / "mnist" / f"{stem}-labels-idx1-ubyte.gz", dimensions=1)
        assert len(labels) == count
        assert set(labels.tolist()) == set(range(10))


def test_a_sample_that_is_there_is_not_written_again(workdir):
    from mlrun.data.sample import write_sample

    files = sorted(write_sample("covid").glob("*.csv"))
    before = [file.stat() for file in files]
    files[1].write_text("damaged")
    write_sample("covid")
    assert files[0].stat().st_ino == before[0].st_ino  # another process may be reading it
    assert files[1].stat().st_size == before[1].st_size
