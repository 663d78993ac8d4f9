"""What each column of a table is: target, id, number, category, or left out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlrun.data import column_roles as roles
from mlrun.data import target as targets
from mlrun.data.column_kinds import reading_of
from mlrun.data.findings import Finding, Findings
from mlrun.data.identifiers import identifiers, row_ids
from mlrun.data.number_format import MISSING_WORDS, PLAIN
from mlrun.errors import MlrunError

PATH = Path("t.csv")


def frame(*names: str) -> pd.DataFrame:
    return pd.DataFrame({name: [1, 2] for name in names})


def nothing() -> Findings:
    """Nothing is decided yet."""
    return Findings("t.csv")


def series(*values: object) -> pd.Series:
    return pd.Series(list(values), name="y")


# --- the target's column --------------------------------------------------------------------


def test_the_target_is_the_one_column_the_test_file_lacks():
    assert targets.target_column(frame("a", "y", "b"), frame("b", "a"), PATH, told=nothing()) == "y"


def test_the_target_is_the_last_column_when_the_test_file_lacks_none():
    assert (
        targets.target_column(frame("a", "y", "b"), frame("a", "y", "b"), PATH, told=nothing())
        == "b"
    )


def test_the_target_is_the_last_column_without_a_test_file():
    assert targets.target_column(frame("a", "y", "b"), None, PATH, told=nothing()) == "b"


def test_the_chosen_target_is_reported_with_the_reason():
    told = nothing()
    targets.target_column(frame("a", "y"), None, PATH, told=told)
    targets.target_column(frame("y", "a"), frame("a"), PATH, told=told)
    assert [one.value for one in told.found] == [
        "y, the last column",
        "y, the only column missing in the test file",
    ]


def test_several_lacking_columns_are_listed_and_the_setting_named():
    with pytest.raises(MlrunError, match=r"target\? The test file has no x, y; set data\.target"):
        targets.target_column(frame("a", "x", "y"), frame("a"), PATH, told=nothing())


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
    assert targets.Target.of(series(*values, *values), "auto", PATH, told=nothing()).kind == kind


@pytest.mark.parametrize("values", [[2, 4, 6], [0, 1, 2]])
def test_integers_that_hardly_repeat_are_quantities(values):
    assert targets.Target.of(series(*values), "auto", PATH, told=nothing()).kind == "regression"


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ([0.5, 1.5], "regression: 'y' has 2 different numbers"),
        ([1, 0], "classification: 'y' has 2 different integers"),
        (["a", "b"], "classification: 'y' has 2 different texts"),
    ],
)
def test_the_inferred_kind_is_reported_with_the_setting_that_overrides_it(values, value):
    told = nothing()
    kind = targets.Target.of(series(*values, *values), "auto", PATH, told=told).kind
    other = {"regression": "classification", "classification": "regression"}[kind]
    assert told.found == [Finding("kind", value, f"data.kind={other}")]


def test_the_spelling_of_a_quantity_is_reported():
    told = nothing()
    targets.Target.of(series("$1.50", "$2.25"), "auto", PATH, told=told)
    assert told.found[1] == Finding("y", "numbers; currency signs")


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


def test_many_fractions_are_no_classes():
    with pytest.raises(MlrunError, match=r"'y' has fractions.*data\.kind=regression"):
        targets.classes_of(series(*(n / 2 for n in range(30))), PATH)


def test_class_targets_are_positions_in_the_list_of_classes():
    values = targets.class_numbers(series("b", "a", "b"), ("a", "b"), PATH)
    assert values.dtype == np.int64
    assert values.tolist() == [1, 0, 1]


def test_a_class_training_did_not_have_is_named_with_its_row():
    with pytest.raises(
        MlrunError, match=r"row 2, column 'y': class 'c' is not a class of .*: a, b"
    ):
        targets.class_numbers(series("b", "c"), ("a", "b"), PATH)


def test_regression_targets_are_the_numbers_themselves():
    assert targets.quantities(series(1, 2.5), PATH, PLAIN).tolist() == [1.0, 2.5]


def test_text_in_a_regression_target_is_named_with_its_row():
    with pytest.raises(MlrunError, match="row 2, column 'y': 'many'"):
        targets.quantities(series(1.5, "many"), PATH, PLAIN)


def test_a_missing_target_is_named_with_its_row():
    with pytest.raises(MlrunError, match="row 2, column 'y': the target is missing"):
        targets.check_target(series(1.5, None), PATH)


def test_a_missing_class_is_named_with_its_row():
    with pytest.raises(MlrunError, match="row 3, column 'y': the target is missing"):
        targets.class_numbers(series("a", "b", None), ("a", "b"), PATH)


def test_a_target_of_one_value_is_refused():
    with pytest.raises(MlrunError, match="'y' is 7 in every row: nothing to learn"):
        targets.check_target(series(7, 7), PATH)


# --- the id ---------------------------------------------------------------------------------


def ids(
    table: pd.DataFrame,
    test: pd.DataFrame | None = None,
    setting: str | None = None,
    told: Findings | None = None,
) -> list[str]:
    return identifiers(table, test, setting=setting, target="y", told=told or nothing())


@pytest.mark.parametrize("name", ["id", "ID", "Id"])
def test_a_column_called_id_names_the_rows(name):
    assert ids(frame("a", name)) == [name]


def test_the_configured_id_comes_first():
    assert ids(frame("id", "a"), setting="a") == ["a", "id"]


def test_none_means_that_no_column_names_the_rows():
    assert ids(frame("id", "a"), setting="none") == []


@pytest.mark.parametrize(
    "name",
    ["PassengerId", "customerID", "Loan_ID", "RowNumber", "CLIENTNUM", "rownames", "row.names"],
)
def test_a_column_named_like_an_id_and_different_in_every_row_names_them(name):
    told = nothing()
    assert ids(frame("a", name), frame(name), told=told) == [name]
    assert told.found == [Finding("id", f"{name}, different in every row", "data.id=none")]


@pytest.mark.parametrize("name", ["idea", "Paid", "Humid", "GRID", "number_of_rooms"])
def test_a_column_that_only_sounds_like_an_id_is_none(name):
    assert ids(frame("a", name)) == []


@pytest.mark.parametrize("values", [["7", "7"], ["7", None], ["1.5", "2"]])
def test_a_column_that_repeats_lacks_or_measures_is_no_id(values):
    assert ids(pd.DataFrame({"PassengerId": values})) == []


def test_a_column_that_repeats_in_the_test_file_is_no_id():
    assert ids(frame("HouseId"), pd.DataFrame({"HouseId": [3, 3]})) == []


def test_of_several_ids_the_first_is_written_and_none_is_learned_from():
    told = nothing()
    assert ids(frame("RowNumber", "CustomerId", "a"), told=told) == ["RowNumber", "CustomerId"]
    assert told.found[1].value == "CustomerId: different in every row"


def test_rows_are_named_by_the_id_column():
    assert row_ids(pd.DataFrame({"id": ["x7", "x9"]}), "id") == ["x7", "x9"]


def test_a_missing_id_is_empty():
    assert row_ids(pd.DataFrame({"id": ["x7", None]}), "id") == ["x7", ""]


def test_rows_without_an_id_are_counted_from_zero():
    assert row_ids(frame("a"), None) == range(2)


# --- features -------------------------------------------------------------------------------


def test_features_are_the_columns_that_are_not_left_out():
    table = frame("id", "b", "a", "y")
    assert roles.feature_columns(table, leave_out=["id", "y"], told=nothing()) == ["b", "a"]


def test_a_column_without_a_name_is_left_out():
    told = nothing()
    assert roles.feature_columns(frame("Unnamed: 0", "a"), leave_out=[], told=told) == ["a"]
    assert told.found[0].value == "1 column without a name"


def categories(
    table: pd.DataFrame, setting: str | list[str], told: Findings | None = None
) -> tuple[list[str], list[str]]:
    readings = {
        str(name): reading_of(table[name], decimal=".", na_values=MISSING_WORDS) for name in table
    }
    return roles.categorical_columns(table, setting, readings, PATH, told=told or nothing())


def test_text_columns_are_categories():
    table = pd.DataFrame({"n": [1, 2], "t": ["x", "y"], "b": [True, False]})
    assert categories(table, "auto") == (["t"], [])


def test_a_number_column_with_a_typo_is_no_category():
    table = pd.DataFrame({"n": ["1", "2", "x"]})
    assert categories(table, "auto") == ([], [])


def test_free_text_is_left_out_and_reported():
    told = nothing()
    table = pd.DataFrame({"name": [f"person {i}" for i in range(60)], "t": ["x", "y"] * 30})
    assert categories(table, "auto", told) == (["t"], ["name"])
    value = "name: 60 different texts in 60 rows"
    assert told.found == [Finding("left out", value, "data.categorical=[name]")]


@pytest.mark.parametrize(("distinct", "rows"), [(50, 50), (60, 120)])
def test_few_texts_or_texts_that_repeat_are_categories(distinct, rows):
    table = pd.DataFrame({"city": [f"city {i % distinct}" for i in range(rows)]})
    assert categories(table, "auto") == (["city"], [])


@pytest.mark.parametrize(("distinct", "rows"), [(51, 51), (61, 121)])
def test_many_texts_in_over_half_the_rows_are_free_text(distinct, rows):
    table = pd.DataFrame({"city": [f"city {i % distinct}" for i in range(rows)]})
    assert categories(table, "auto") == ([], ["city"])


def test_listed_columns_are_categories_whatever_they_hold_beside_the_texts():
    table = pd.DataFrame({"n": [1, 2], "name": ["x", "y"]})
    assert categories(table, ["n"]) == (["n", "name"], [])


def test_none_takes_no_column_for_a_category():
    table = pd.DataFrame({"n": [1, 2], "name": ["x", "y"]})
    assert categories(table, "none") == ([], [])


def test_a_target_of_texts_that_hardly_repeat_is_refused():
    with pytest.raises(MlrunError, match=r"30 different texts in 30 rows \('item 1' …\)"):
        targets.Target.of(
            pd.Series([f"item {i}" for i in range(1, 31)], name="y"), "auto", PATH, told=nothing()
        )


def test_codes_with_words_among_them_are_categories():
    assert categories(pd.DataFrame({"code": ["01", "02", "A3"] * 5}), "auto") == (["code"], [])


def test_dates_are_neither_categories_nor_left_out():
    table = pd.DataFrame({"day": ["2024-01-01", "2024-01-02"], "n": [1, 2]})
    assert categories(table, "auto") == ([], [])
    assert categories(table, ["day"]) == (["day"], [])


def test_an_empty_column_is_left_out_and_reported():
    told = nothing()
    table = pd.DataFrame({"gap": ["", "n/a"], "n": [1, 2]})
    assert categories(table, "auto", told) == ([], ["gap"])
    assert told.found == [Finding("left out", "gap: empty in every row")]


def test_decimal_commas_in_a_file_with_points_are_reported():
    column = pd.Series(["1,5", "2,25"])
    assert reading_of(column, decimal=".", na_values=()).words == "decimal commas"
    assert reading_of(column, decimal=",", na_values=()).words == ""


def test_dates_order_a_split_only_where_their_order_is_plain():
    iso = pd.Series(["2023-02-08", "2019-01-26"], name="day")
    order = roles.order_or_groups(iso, PATH, in_order=True)
    assert order[0] > order[1]
    with pytest.raises(MlrunError, match=r"'day' \('25\.02\.2020' …\) has no order.*YYYY-MM-DD"):
        roles.order_or_groups(pd.Series(["25.02.2020"], name="day"), PATH, in_order=True)


def test_a_listed_category_that_is_not_there_is_named():
    with pytest.raises(MlrunError, match=r"data\.categorical: 'colour' is not a feature.*'color'"):
        categories(frame("color"), ["colour"])
