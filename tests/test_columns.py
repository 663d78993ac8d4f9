"""What each column of a table is: target, id, number, category, or left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlrun.data import column_roles as roles
from mlrun.data import target as targets
from mlrun.errors import MlrunError

PATH = Path("t.csv")


def frame(*names: str) -> pd.DataFrame:
    return pd.DataFrame({name: [1, 2] for name in names})


def series(*values: object) -> pd.Series:
    return pd.Series(list(values), name="y")


# --- the target's column --------------------------------------------------------------------


def test_the_target_is_the_one_column_the_test_file_lacks():
    assert targets.target_column(frame("a", "y", "b"), frame("b", "a"), PATH) == "y"


def test_the_target_is_the_last_column_when_the_test_file_lacks_none():
    assert targets.target_column(frame("a", "y", "b"), frame("a", "y", "b"), PATH) == "b"


def test_the_target_is_the_last_column_without_a_test_file():
    assert targets.target_column(frame("a", "y", "b"), None, PATH) == "b"


def test_the_chosen_target_is_reported_with_the_reason(caplog):
    caplog.set_level("INFO", logger="mlrun")
    targets.target_column(frame("a", "y"), None, PATH)
    targets.target_column(frame("y", "a"), frame("a"), PATH)
    assert caplog.messages == [
        "target: y (the last column)",
        "target: y (the only column missing in the test file)",
    ]


def test_several_lacking_columns_are_listed_and_the_setting_named():
    with pytest.raises(MlrunError, match=r"target\? The test file has no x, y; set data\.target"):
        targets.target_column(frame("a", "x", "y"), frame("a"), PATH)


def test_a_column_that_is_not_there_is_named_with_its_setting_and_the_closest_name():
    with pytest.raises(MlrunError, match=r"no column 'prise' \(data\.target\).*mean 'price'\?"):
        roles.require("prise", frame("a", "price"), PATH, key="data.target")


# --- regression or classification -----------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.5, 1.5], "regression"),
        ([0, 1, 2], "classification"),
        (list(range(20)), "classification"),
        (list(range(21)), "regression"),
        ([0.0, 1.0], "classification"),
        (["low", "high"], "classification"),
        ([f"level {i}" for i in range(30)] * 2, "classification"),
        ([True, False], "classification"),
    ],
    ids=["floats", "few-ints", "20-ints", "21-ints", "whole-floats", "text", "30-texts", "bool"],
)
def test_the_kind_follows_the_targets_values(values, kind):
    assert targets.infer_kind(series(*values)) == kind


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 1.5], "kind: regression (target 'y' has 2 different numbers; override: data.kind="),
        (
            [1, 0],
            "kind: classification (target 'y' has 2 different integers; override: data.kind=",
        ),
        (
            ["a", "b"],
            "kind: classification (target 'y' has 2 different texts; override: data.kind=",
        ),
    ],
)
def test_the_inferred_kind_is_reported_with_the_setting_that_overrides_it(values, message, caplog):
    caplog.set_level("INFO", logger="mlrun")
    kind = targets.infer_kind(series(*values))
    other = {"regression": "classification", "classification": "regression"}[kind]
    assert caplog.messages == [f"{message}{other})"]


# --- class labels ---------------------------------------------------------------------------


def test_number_classes_are_ordered_by_value():
    assert targets.classes_of(series(10, 9, 2, 10), PATH) == ("2", "9", "10")


def test_word_classes_are_ordered_by_letter():
    assert targets.classes_of(series("low", "high", "mid"), PATH) == ("high", "low", "mid")


def test_numbers_come_before_words():
    assert targets.classes_of(series("x", "10", "9"), PATH) == ("9", "10", "x")


def test_fractions_among_words_are_labels():
    assert targets.classes_of(series("1.5", "x"), PATH) == ("1.5", "x")


def test_whole_floats_are_classes_without_a_point():
    assert targets.classes_of(series(1.0, 0.0), PATH) == ("0", "1")


def test_fractions_are_no_classes():
    with pytest.raises(MlrunError, match=r"'y' has fractions.*data\.kind=regression"):
        targets.classes_of(series(0.5, 1.0), PATH)


def test_class_targets_are_positions_in_the_list_of_classes():
    values = targets.target_values(series("b", "a", "b"), ("a", "b"), PATH)
    assert values.dtype == np.int64
    assert values.tolist() == [1, 0, 1]


def test_a_class_training_did_not_have_is_named_with_its_row():
    with pytest.raises(
        MlrunError, match=r"row 2, column 'y': class 'c' is not a class of .*: a, b"
    ):
        targets.target_values(series("b", "c"), ("a", "b"), PATH)


def test_regression_targets_are_the_numbers_themselves():
    assert targets.target_values(series(1, 2.5), (), PATH).tolist() == [1.0, 2.5]


def test_text_in_a_regression_target_is_named_with_its_row():
    with pytest.raises(MlrunError, match="row 2, column 'y': 'many'"):
        targets.target_values(series(1.5, "many"), (), PATH)


def test_a_missing_target_is_named_with_its_row():
    with pytest.raises(MlrunError, match="row 2, column 'y': the target is missing"):
        targets.check_target(series(1.5, None), PATH)


def test_a_missing_class_is_named_with_its_row():
    with pytest.raises(MlrunError, match="row 3, column 'y': the target is missing"):
        targets.target_values(series("a", "b", None), ("a", "b"), PATH)


def test_a_target_of_one_value_is_refused():
    with pytest.raises(MlrunError, match="'y' is 7 in every row: nothing to learn"):
        targets.check_target(series(7, 7), PATH)


# --- the id ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["id", "ID", "Id"])
def test_a_column_called_id_names_the_rows(name):
    assert roles.id_column(None, frame("a", name)) == name


def test_the_configured_id_wins():
    assert roles.id_column("a", frame("id", "a")) == "a"


def test_without_a_column_called_id_there_is_none():
    assert roles.id_column(None, frame("a", "idea")) is None


def test_a_file_may_lack_the_configured_id():
    assert roles.id_column("key", frame("id", "a")) is None


def test_rows_are_named_by_the_id_column():
    assert roles.row_ids(pd.DataFrame({"id": ["x7", "x9"]}), "id") == ["x7", "x9"]


def test_a_missing_id_is_empty():
    assert roles.row_ids(pd.DataFrame({"id": ["x7", None]}), "id") == ["x7", ""]


def test_rows_without_an_id_are_counted_from_zero():
    assert roles.row_ids(frame("a"), None) == range(2)


# --- features -------------------------------------------------------------------------------


def test_features_are_the_columns_that_are_not_left_out():
    assert roles.feature_columns(frame("id", "b", "a", "y"), leave_out=["id", "y"]) == ["b", "a"]


def test_a_column_without_a_name_is_left_out(caplog):
    caplog.set_level("INFO", logger="mlrun")
    assert roles.feature_columns(frame("Unnamed: 0", "a"), leave_out=[]) == ["a"]
    assert "left out: 1 column(s) without a name" in caplog.text


def test_text_columns_are_categories():
    table = pd.DataFrame({"n": [1, 2], "t": ["x", "y"], "b": [True, False]})
    assert roles.categorical_columns(table, "auto", PATH) == (["t"], [])


def test_a_number_column_with_a_typo_is_no_category():
    table = pd.DataFrame({"n": ["1", "2", "x"]})
    assert roles.categorical_columns(table, "auto", PATH) == ([], [])


def test_free_text_is_left_out_and_reported(caplog):
    caplog.set_level("INFO", logger="mlrun")
    table = pd.DataFrame({"name": [f"person {i}" for i in range(60)], "t": ["x", "y"] * 30})
    assert roles.categorical_columns(table, "auto", PATH) == (["t"], ["name"])
    assert "to keep it: data.categorical=['name']" in caplog.text


@pytest.mark.parametrize(("distinct", "rows"), [(50, 50), (60, 120)])
def test_few_texts_or_texts_that_repeat_are_categories(distinct, rows):
    table = pd.DataFrame({"city": [f"city {i % distinct}" for i in range(rows)]})
    assert roles.categorical_columns(table, "auto", PATH) == (["city"], [])


@pytest.mark.parametrize(("distinct", "rows"), [(51, 51), (61, 121)])
def test_many_texts_in_over_half_the_rows_are_free_text(distinct, rows):
    table = pd.DataFrame({"city": [f"city {i % distinct}" for i in range(rows)]})
    assert roles.categorical_columns(table, "auto", PATH) == ([], ["city"])


def test_listed_columns_are_categories_whatever_they_hold_beside_the_texts():
    table = pd.DataFrame({"n": [1, 2], "name": ["x", "y"]})
    assert roles.categorical_columns(table, ["n"], PATH) == (["n", "name"], [])


def test_none_takes_no_column_for_a_category():
    table = pd.DataFrame({"n": [1, 2], "name": ["x", "y"]})
    assert roles.categorical_columns(table, "none", PATH) == ([], [])


def test_a_target_of_texts_that_hardly_repeat_is_refused():
    with pytest.raises(MlrunError, match=r"30 different texts in 30 rows \('1,000' …\)"):
        targets.infer_kind(pd.Series([f"{i},000" for i in range(1, 31)], name="price"))


def test_numbers_with_decimal_commas_are_recognised_and_the_setting_named():
    table = pd.DataFrame({"size": ["1,5", "2,25", None]})
    with pytest.raises(MlrunError, match=r"'size' looks like numbers with commas .*decimal=comma"):
        roles.categorical_columns(table, "auto", PATH)


def test_dates_order_a_split_only_where_their_order_is_plain():
    iso = pd.Series(["2023-02-08", "2019-01-26"], name="day")
    order = roles.order_or_groups(iso, PATH, in_order=True)
    assert order[0] > order[1]
    with pytest.raises(MlrunError, match=r"'day' \('25\.02\.2020' …\) has no order.*YYYY-MM-DD"):
        roles.order_or_groups(pd.Series(["25.02.2020"], name="day"), PATH, in_order=True)


def test_a_listed_category_that_is_not_there_is_named():
    with pytest.raises(MlrunError, match=r"data\.categorical: 'colour' is not a feature.*'color'"):
        roles.categorical_columns(frame("color"), ["colour"], PATH)
