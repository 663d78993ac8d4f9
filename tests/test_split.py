"""Splitting rows into training and validation."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch.utils.data import TensorDataset, random_split

from mlrun.data.split import split_rows
from mlrun.data.split_settings import METHODS, Split
from mlrun.errors import MlrunError

LABELS = np.repeat([0, 1, 2], [50, 30, 20])
VALUES = np.linspace(0.5, 9.7, 100)
GROUPS = np.arange(100) // 7
SEEDED = [method for method in METHODS if method != "time"]
DEFAULTS: dict[str, Any] = {
    "method": "auto",
    "ratio": 0.2,
    "seed": 42,
    "folds": 5,
    "fold": 0,
    "column": None,
}


def rows(
    targets: NDArray[Any] = LABELS,
    *,
    kind: str = "classification",
    column: NDArray[Any] | None = None,
    **settings: Any,
) -> tuple[list[int], list[int]]:
    """Training and validation row numbers as lists."""
    if settings.get("method") in ("group", "group_kfold"):
        settings["column"] = "g"
        column = GROUPS[: len(targets)] if column is None else column
    train, valid = split_rows(Split(**DEFAULTS | settings), targets, kind=kind, column=column)
    return train.tolist(), valid.tolist()


# --- every method ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_row_is_on_one_side(method):
    train, valid = rows(method=method)
    assert sorted(train + valid) == list(range(100))


@pytest.mark.parametrize("method", METHODS)
def test_about_a_fifth_of_the_rows_validates(method):
    assert 14 <= len(rows(method=method)[1]) <= 26


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_rows(method):
    assert rows(method=method) == rows(method=method)


@pytest.mark.parametrize("method", SEEDED)
def test_another_seed_gives_other_rows(method):
    assert rows(method=method) != rows(method=method, seed=43)


@pytest.mark.parametrize("method", ["auto", "holdout", "random_split", "kfold", "time"])
def test_two_rows_are_one_to_train_and_one_to_validate(method):
    train, valid = rows(np.array([0, 1]), method=method, folds=2)
    assert sorted([train, valid]) == [[0], [1]]


@pytest.mark.parametrize("method", METHODS)
def test_one_row_is_refused(method):
    with pytest.raises(MlrunError, match="1 row for training: at least 2"):
        rows(np.array([0]), method=method)


# --- hold-out -------------------------------------------------------------------------------


def test_the_holdout_is_scikit_learns():
    train, valid = train_test_split(np.arange(100), test_size=0.2, random_state=42)
    assert rows(method="holdout") == (train.tolist(), valid.tolist())


def test_the_stratified_holdout_is_scikit_learns():
    train, valid = train_test_split(np.arange(100), test_size=0.2, random_state=42, stratify=LABELS)
    assert rows(method="stratified") == (train.tolist(), valid.tolist())


@pytest.mark.parametrize("method", ["stratified", "stratified_kfold"])
def test_stratified_validation_has_every_class_in_proportion(method):
    valid = rows(method=method)[1]
    assert np.bincount(LABELS[valid]).tolist() == [10, 6, 4]


@pytest.mark.parametrize(("count", "held"), [(10, 2), (11, 3), (3, 1)])
def test_the_held_out_share_is_rounded_up(count, held):
    assert len(rows(VALUES[:count], method="holdout")[1]) == held


@pytest.mark.parametrize("method", ["holdout", "random_split", "time"])
def test_a_tiny_ratio_still_holds_out_a_row(method):
    assert len(rows(method=method, ratio=0.001)[1]) == 1


@pytest.mark.parametrize("method", ["holdout", "random_split", "time"])
def test_a_large_ratio_still_leaves_a_row_to_train(method):
    assert len(rows(VALUES[:5], method=method, ratio=0.999)[0]) == 1


def test_random_split_is_torchs():
    generator = torch.Generator().manual_seed(42)
    parts = random_split(TensorDataset(torch.arange(100)), [80, 20], generator)
    assert rows(method="random_split") == (list(parts[0].indices), list(parts[1].indices))


# --- folds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["kfold", "stratified_kfold"])
def test_every_row_validates_in_one_fold(method):
    folds = [rows(method=method, folds=4, fold=fold)[1] for fold in range(4)]
    assert sorted(row for fold in folds for row in fold) == list(range(100))


# --- groups ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_a_group_never_stands_on_both_sides(seed):
    train, valid = rows(method="group", seed=seed)
    assert not set(GROUPS[train]) & set(GROUPS[valid])


def test_groups_may_be_text():
    groups = np.array(["x", "y", "x", "z", "y", "z"], dtype=object)
    train, valid = rows(LABELS[:6], method="group", column=groups)
    assert not set(groups[train]) & set(groups[valid])


def test_a_single_group_cannot_be_split():
    with pytest.raises(MlrunError, match=r"data\.split\.method=group: .*train set will be empty"):
        rows(method="group", column=np.zeros(100))


# --- time -----------------------------------------------------------------------------------


def test_the_last_rows_validate():
    assert rows(method="time") == (list(range(80)), list(range(80, 100)))


def test_the_latest_rows_validate():
    day = np.array([5, 1, 4, 2, 3])
    assert rows(VALUES[:5], method="time", column=day) == ([1, 3, 4, 2], [0])


def test_rows_of_one_day_keep_the_files_order():
    day = np.array([2, 1, 2, 1])
    assert rows(VALUES[:4], method="time", ratio=0.5, column=day) == ([1, 3], [0, 2])


def test_dates_as_iso_text_are_ordered():
    day = np.array(["2021-02-01", "2020-12-31", "2021-01-15"], dtype=object)
    assert rows(VALUES[:3], method="time", column=day) == ([1, 2], [0])


# --- auto -----------------------------------------------------------------------------------


def test_auto_stratifies_classes():
    assert rows(method="auto") == rows(method="stratified")


def test_auto_stratifies_where_every_class_just_fits():
    labels = np.array([0] * 8 + [1] * 2)
    assert rows(labels) == rows(labels, method="stratified")


def test_auto_is_a_plain_holdout_for_numbers():
    repeated = LABELS.astype(float)
    assert rows(repeated, kind="regression") == rows(repeated, method="holdout")


def test_auto_is_a_plain_holdout_when_a_class_has_one_row(caplog):
    caplog.set_level("INFO", logger="mlrun")
    labels = np.array([0] * 9 + [1])
    assert rows(labels) == rows(labels, method="holdout")
    assert "a class has too few rows" in caplog.text


def test_auto_is_a_plain_holdout_when_validation_cannot_have_every_class():
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert rows(labels) == rows(labels, method="holdout")


# --- what is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"method": "kfld"},
            r"data\.split\.method=kfld: must be one of auto, .*Did you mean 'kfold'\?",
        ),
        ({"ratio": 0}, r"data\.split\.ratio=0: must be between 0 and 1"),
        ({"ratio": 1.0}, r"data\.split\.ratio=1\.0: must be between 0 and 1"),
        ({"ratio": -0.2}, r"data\.split\.ratio=-0\.2"),
        ({"folds": 1}, "folds=1: needs at least 2 folds"),
        ({"fold": 5}, "fold=5, folds=5: .*from 0 to folds"),
        ({"fold": -1}, "fold=-1"),
        ({"method": "group"}, r"method=group: set the column with data\.split\.column"),
    ],
)
def test_a_setting_out_of_range_is_named(settings, words):
    with pytest.raises(MlrunError, match=words):
        Split(**DEFAULTS | settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ratoi": 0.2}, r"unknown key 'data\.split\.ratoi'.*Did you mean 'ratio'\?"),
        ({"ratio": "few"}, r"data\.split\.ratio=few: must be a number"),
        ({"seed": None}, r"data\.split\.seed=None: must be an integer"),
    ],
)
def test_a_setting_of_another_name_or_type_is_named(settings, words):
    with pytest.raises(MlrunError, match=words):
        Split.of(DEFAULTS | settings)


def test_a_class_of_one_row_cannot_be_stratified():
    with pytest.raises(
        MlrunError, match=r"data\.split\.method=stratified: .*a class has only 1 row"
    ):
        rows(np.array([0] * 9 + [1]), method="stratified")


def test_numbers_cannot_be_stratified():
    with pytest.raises(MlrunError, match=r"stratified_kfold needs classes"):
        rows(VALUES, kind="regression", method="stratified_kfold")


def test_more_folds_than_rows_are_refused():
    with pytest.raises(MlrunError, match=r"kfold: .*n_splits=5 greater than .*n_samples=3"):
        rows(VALUES[:3], method="kfold")
