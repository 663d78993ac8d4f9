"""Preprocessing: fitted as scikit-learn does, frozen into plain numbers, applied to any file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import feature_selection
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from torch import Tensor

from mlrun.data.feature_selection import select_top
from mlrun.data.findings import Findings
from mlrun.data.preprocess.apply import raw_rows
from mlrun.data.preprocess.fit import fit_table
from mlrun.data.preprocess.module import Contract, ImagePreprocess, build_preprocess
from mlrun.data.preprocess.plan import ColumnPlan, MissingValues, check_table
from mlrun.errors import MlrunError

PATH = Path("t.csv")
random = np.random.default_rng(0)
NUMBERS = pd.DataFrame(random.normal(50.0, 20.0, (40, 3)), columns=["a", "b", "c"])
MIXED = pd.DataFrame(
    {"n": [1.0, 2.0, 4.0, 5.0], "t": ["red", "blue", "red", "green"], "k": [10, 9, 2, 10]}
)


def fit(table: pd.DataFrame, *categorical: str, **settings: Any) -> Contract:
    defaults: dict[str, Any] = {"encode": "onehot", "scale": "standard"}
    how = plan(*categorical, missing=settings.pop("missing", "error"))
    return fit_table(
        table, np.arange(len(table)), how, path=PATH, told=Findings("t.csv"), **defaults | settings
    )


def plan(*categorical: str, missing: str | float) -> ColumnPlan:
    return ColumnPlan(categorical, missing=MissingValues(missing))


def apply(contract: Contract, table: pd.DataFrame) -> Tensor:
    result: Tensor = build_preprocess(contract)(raw_rows(table, contract, PATH))
    return result


def names(contract: Contract) -> list[str]:
    return [feature["name"] for feature in contract["features"]]


def column(*values: object, name: str = "a") -> pd.DataFrame:
    return pd.DataFrame({name: list(values)})


# --- numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "scaler"), [("standard", StandardScaler()), ("minmax", MinMaxScaler())]
)
def test_scaling_is_scikit_learns(scale, scaler):
    expected = scaler.fit(NUMBERS.to_numpy()).transform(NUMBERS.to_numpy() + 7)
    result = apply(fit(NUMBERS, scale=scale), NUMBERS + 7)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_without_scaling_numbers_stay_as_they_are():
    np.testing.assert_array_equal(
        apply(fit(NUMBERS, scale="none"), NUMBERS), NUMBERS.to_numpy(np.float32)
    )


def test_features_are_32_bit_floats():
    assert apply(fit(NUMBERS), NUMBERS).dtype == torch.float32


@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_a_constant_column_is_only_centred(scale):
    assert apply(fit(column(7, 7, 7), scale=scale), column(7, 9)).tolist() == [[0], [2]]


def test_text_in_a_number_column_is_named_with_the_setting_for_categories():
    with pytest.raises(MlrunError, match=r"row 2, column 'a': 'x' .*data\.categorical=\['a'\]"):
        check_table(column("1", "x", "2"), plan(missing="error"), path=PATH)


# --- missing values -------------------------------------------------------------------------


def test_a_missing_value_is_refused_with_its_place_and_the_way_out():
    words = r"row 2, column 'a': the value is missing \(and 1 more in this column\).*=auto"
    with pytest.raises(MlrunError, match=words):
        check_table(column(1, None, 3, None), plan(missing="error"), path=PATH)


def test_a_missing_text_is_refused_too():
    table = column("x", None, "y")
    with pytest.raises(MlrunError, match=r"row 2, column 'a': the value is missing"):
        check_table(table, plan("a", missing="error"), path=PATH)
    check_table(table, plan("a", missing="mean"), path=PATH)


@pytest.mark.parametrize(("missing", "fill"), [("mean", 4.0), ("median", 2.0), (-1, -1.0)])
def test_a_missing_value_is_filled(missing, fill):
    table = column(1.0, None, 2.0, 9.0)
    result = apply(fit(table, missing=missing, scale="none"), table)
    assert result.ravel().tolist() == [1.0, fill, 2.0, 9.0]


def test_scaling_is_fitted_on_the_filled_values():
    contract = fit(column(1.0, None), missing=3)
    assert contract["features"][0]["center"] == 2.0


def test_a_column_that_is_empty_has_no_mean():
    with pytest.raises(MlrunError, match=r"'a' is empty in every training row; set data\.drop"):
        fit(column(np.nan, np.nan), missing="mean")


def test_a_column_that_is_empty_is_filled_with_a_number():
    table = column(np.nan, np.nan)
    assert apply(fit(table, missing=5, scale="none"), table).tolist() == [[5], [5]]


def test_a_value_missing_only_in_a_new_file_is_refused():
    with pytest.raises(MlrunError, match=r"row 1, column 'a': the value is missing"):
        apply(fit(column(1, 2)), column(None))


def test_a_missing_category_is_refused():
    with pytest.raises(MlrunError, match=r"row 2, column 'a': the value is missing"):
        apply(fit(column("x", "y"), "a"), column("x", None))


def test_a_missing_category_is_unknown_where_missing_values_are_allowed():
    contract = fit(column("x", "y"), "a", missing="mean")
    assert apply(contract, column(None)).tolist() == [[0, 0, 1]]


# --- categories -----------------------------------------------------------------------------


def test_one_hot_has_a_feature_per_level_and_one_for_the_unknown():
    contract = fit(MIXED[["t"]], "t")
    assert names(contract) == ["t=blue", "t=green", "t=red", "t=(unknown)"]
    assert apply(contract, column("red", "blue", name="t")).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]


def test_a_category_never_seen_goes_to_the_unknown():
    assert apply(fit(MIXED[["t"]], "t"), column("mauve", name="t")).tolist() == [[0, 0, 0, 1]]


def test_number_categories_are_ordered_by_value():
    assert names(fit(MIXED[["k"]], "k")) == ["k=2", "k=9", "k=10", "k=(unknown)"]


def test_number_categories_come_before_words():
    assert names(fit(column("x", "10", "9"), "a")) == ["a=9", "a=10", "a=x", "a=(unknown)"]


def test_a_number_category_is_the_same_as_int_and_as_float():
    contract = fit(MIXED[["k"]], "k")
    assert apply(contract, column(9.0, name="k")).tolist() == [[0, 1, 0, 0]]


def test_ordinal_is_one_feature_from_zero_to_one_for_the_unknown():
    contract = fit(column("x", "y", "z", "y"), "a", encode="ordinal")
    assert names(contract) == ["a"]
    result = apply(contract, column("x", "y", "z", "never"))
    np.testing.assert_allclose(result.ravel(), [0, 1 / 3, 2 / 3, 1], rtol=1e-6)


def test_features_keep_the_columns_order():
    assert names(fit(MIXED, "t")) == ["n", "t=blue", "t=green", "t=red", "t=(unknown)", "k"]


# --- the contract ---------------------------------------------------------------------------


@pytest.mark.parametrize("scale", ["standard", "minmax", "none"])
@pytest.mark.parametrize("encode", ["onehot", "ordinal"])
@pytest.mark.parametrize("missing", ["error", "median"])
def test_a_contract_from_json_gives_the_same_bits(scale, encode, missing):
    table = MIXED.assign(n=MIXED["n"] / 3)
    contract = fit(table, "t", scale=scale, encode=encode, missing=missing)
    again = json.loads(json.dumps(contract))
    assert again == contract
    assert torch.equal(apply(again, table), apply(contract, table))


def test_an_image_contract_from_json_gives_the_same_bits():
    contract = {"input": "images", "mean": 0.1307, "std": 0.3081}
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    again = build_preprocess(json.loads(json.dumps(contract)))(images)
    assert torch.equal(again, build_preprocess(contract)(images))


def test_image_levels_become_standardised_shares_of_full_brightness():
    levels = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    result = ImagePreprocess(0.5, 0.25)(levels)
    assert result.ravel().tolist() == [-2.0, 2.0]


def test_columns_are_found_by_name_not_by_place():
    contract = fit(MIXED, "t")
    assert torch.equal(apply(contract, MIXED[["k", "t", "n"]]), apply(contract, MIXED))


def test_columns_the_model_does_not_know_are_ignored():
    contract = fit(MIXED, "t")
    assert torch.equal(apply(contract, MIXED.assign(extra="x")), apply(contract, MIXED))


def test_missing_columns_are_counted_and_named_with_the_closest_name():
    table = MIXED.rename(columns={"t": "tone"}).drop(columns="k")
    with pytest.raises(MlrunError, match="2 of the model's 3 columns are missing: 't', 'k'"):
        raw_rows(table, fit(MIXED, "t"), PATH)


def test_a_misspelt_column_is_recognised():
    contract = fit(column(1, 2, name="price"))
    with pytest.raises(MlrunError, match=r"missing: 'price'\. Did you mean 'prise'\?"):
        raw_rows(column(1, name="prise"), contract, PATH)


def test_many_missing_columns_are_abridged():
    wide = pd.DataFrame([[1, 2, 3, 4, 5, 6]] * 2, columns=list("abcdef"))
    with pytest.raises(
        MlrunError, match=r"6 of .* 6 columns are missing: 'a', 'b', 'c', 'd', 'e' …"
    ):
        raw_rows(column(1, name="x"), fit(wide), PATH)


def test_text_where_the_model_expects_a_number_is_named():
    with pytest.raises(MlrunError, match=r"t\.csv, row 2, column 'a': 'x' is not a finite number"):
        raw_rows(column("1", "x"), fit(column(1, 2)), PATH)


# --- the best features ----------------------------------------------------------------------

MANY = pd.DataFrame(random.normal(size=(60, 5)), columns=list("abcde"))
VALUES = (3 * MANY["d"] + MANY["b"] + 0.1 * random.normal(size=60)).to_numpy()
CLASSES = (VALUES > 0).astype(np.int64)
BY = ("f_test", "mutual_info", "correlation")


def top(count: int, by: str, targets: np.ndarray = VALUES, table: pd.DataFrame = MANY) -> Contract:
    contract = fit(table)
    return select_top(contract, apply(contract, table).numpy(), targets, top=count, by=by)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("targets", [VALUES, CLASSES], ids=["values", "classes"])
def test_the_most_informative_feature_is_kept(by, targets):
    assert names(top(1, by, targets)) == ["d"]


@pytest.mark.parametrize("by", BY)
def test_the_features_kept_stay_in_their_order(by):
    assert names(top(2, by)) == ["b", "d"]


def test_the_f_test_is_scikit_learns():
    features = apply(fit(MANY), MANY).numpy()
    best = feature_selection.SelectKBest(feature_selection.f_classif, k=3).fit(features, CLASSES)
    kept = MANY.columns[best.get_support()].tolist()
    assert names(top(3, "f_test", CLASSES)) == kept


def test_correlation_counts_in_either_direction():
    table = pd.DataFrame({"weak": MANY["b"], "opposite": -MANY["d"]})
    assert names(top(1, "correlation", table=table)) == ["opposite"]


def test_correlation_is_about_the_mean():
    table = pd.DataFrame({"noise": MANY["a"], "far": MANY["d"] + 1000})
    contract = fit(table, scale="none")
    features = apply(contract, table).numpy()
    assert names(select_top(contract, features, VALUES, top=1, by="correlation")) == ["far"]


@pytest.mark.parametrize(("by", "best"), [("f_test", "middle"), ("correlation", "slope")])
def test_the_f_test_sees_a_class_in_the_middle(by, best):
    classes = np.arange(60) % 3
    table = pd.DataFrame(
        {"middle": 5 * (classes == 1) + MANY["a"], "slope": 0.5 * classes + MANY["b"]}
    )
    assert names(top(1, by, classes, table)) == [best]


@pytest.mark.parametrize(("by", "best"), [("f_test", "line"), ("mutual_info", "curve")])
def test_mutual_information_sees_a_curve(by, best):
    curve = np.linspace(-3, 3, 60)
    table = pd.DataFrame({"line": curve**2 + 4 * MANY["a"], "curve": curve})
    assert names(top(1, by, curve**2, table)) == [best]


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("targets", [VALUES, CLASSES], ids=["values", "classes"])
def test_a_constant_feature_is_the_last_to_be_kept(by, targets):
    table = pd.DataFrame({"constant": 1.0, "d": MANY["d"]})
    assert names(top(1, by, targets, table)) == ["d"]


def test_more_than_there_are_keeps_all():
    assert names(top(99, "f_test")) == list("abcde")


def test_columns_that_no_kept_feature_needs_leave_the_contract():
    contract = top(2, "f_test")
    assert [entry["name"] for entry in contract["columns"]] == ["b", "d"]


def test_a_pruned_contract_gives_the_kept_features_unchanged():
    full = apply(fit(MANY), MANY)[:, [1, 3]]
    assert torch.equal(apply(top(2, "f_test"), MANY[["d", "b"]]), full)


def test_levels_of_a_category_are_kept_one_by_one():
    table = pd.DataFrame({"t": ["x", "y", "z"] * 20, "n": MANY["a"]})
    contract = fit(table, "t")
    targets = (table["t"] == "y") + 0.1 * MANY["a"].to_numpy()
    kept = select_top(
        contract, apply(contract, table).numpy(), targets.to_numpy(), top=1, by="f_test"
    )
    assert names(kept) == ["t=y"]
    assert apply(kept, column("y", "x", name="t")).tolist() == [[1], [0]]


def test_rare_categories_are_the_unknown_and_train_its_bucket():
    table, told = pd.DataFrame({"t": ["a", "a", "b", "c", None]}), Findings("t.csv")
    plan, rows = ColumnPlan(["t"], missing=MissingValues("auto"), min_frequency=2), np.arange(5)
    contract = fit_table(table, rows, plan, path=PATH, encode="onehot", scale="none", told=told)
    assert names(contract) == ["t=a", "t=(unknown)", "t=(missing)"]
    assert contract["columns"][0]["knows_unknown"] is True
    value = "2 of 3 categories, in fewer than 2 training rows, are (unknown)"
    assert told.found[0].value == value
