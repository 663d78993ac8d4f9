"""Finding files, and when the sample stands in for them."""

from pathlib import Path

import pytest

from mlrun.data.locate import find, wants_sample
from mlrun.errors import MlrunError

DEFAULT = Path("data/covid")


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


# --- find -----------------------------------------------------------------------------------


def test_the_first_name_that_exists_is_taken():
    touch("b.csv", "c.csv")
    assert find(Path(), ["a.csv", "b.csv", "c.csv"], key="data.train") == Path("b.csv")


def test_a_name_may_be_an_absolute_path(tmp_path):
    touch("a.csv")
    assert find(Path("elsewhere"), str(tmp_path / "a.csv"), key="k") == tmp_path / "a.csv"


@pytest.mark.parametrize("names", [None, ["a.csv", None]])
def test_a_file_that_may_be_absent_is_none(names):
    assert find(Path(), names, key="data.test") is None


def test_a_file_that_may_be_absent_is_found_when_it_is_there():
    touch("a.csv")
    assert find(Path(), ["a.csv", None], key="data.test") == Path("a.csv")


def test_a_folder_of_that_name_is_no_file():
    Path("a.csv").mkdir()
    with pytest.raises(MlrunError, match=r"a\.csv is a folder, not a file; see data\.train"):
        find(Path(), "a.csv", key="data.train")


def test_a_missing_file_is_named_with_what_is_there_and_the_closest_name(tmp_path):
    touch("d/train.csv", "d/other.csv")
    with pytest.raises(
        MlrunError, match=r"no file trian\.csv or t\.csv in .*data\.train"
    ) as caught:
        find(Path("d"), ["trian.csv", "t.csv"], key="data.train")
    assert str(tmp_path / "d") in str(caught.value)
    assert "found: other.csv, train.csv" in str(caught.value)
    assert "Did you mean 'train.csv'?" in str(caught.value)


def test_a_missing_file_in_an_empty_folder_is_reported():
    Path("d").mkdir()
    with pytest.raises(MlrunError, match="the folder has no files"):
        find(Path("d"), "train.csv", key="data.train")


def test_a_missing_folder_is_named_with_the_settings_that_lead_elsewhere():
    with pytest.raises(MlrunError, match=r"no folder d with a\.csv; .*data\.dir and MLRUN_DATA"):
        find(Path("d"), ["a.csv", "b.csv"], key="data.train")


# --- the sample -----------------------------------------------------------------------------


def test_the_sample_stands_in_while_there_is_no_data_folder():
    assert wants_sample(DEFAULT, "covid")


@pytest.mark.parametrize("name", ["README.md", ".gitkeep", ".DS_Store"])
def test_the_sample_stands_in_while_the_default_folder_holds_no_data(name):
    touch(f"data/covid/{name}")
    assert wants_sample(DEFAULT, "covid")


@pytest.mark.parametrize("name", ["my.csv", "MY.CSV", "covid.zip", "train-images-idx3-ubyte"])
def test_a_data_file_of_any_name_ends_the_sample(name):
    touch(f"data/covid/{name}")
    assert not wants_sample(DEFAULT, "covid")


@pytest.mark.parametrize("folder", ["elsewhere", "data/other", "data", "/data/covid"])
def test_a_folder_the_user_named_is_never_replaced(folder):
    assert not wants_sample(Path(folder), "covid")


def test_the_default_folder_by_its_full_path_is_the_users_own(tmp_path):
    assert not wants_sample(tmp_path / DEFAULT, "covid")


def test_a_task_without_a_sample_has_none():
    assert not wants_sample(Path("data/csv"), None)
