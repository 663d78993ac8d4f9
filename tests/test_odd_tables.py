"""Odd tables that once gave wrong results, tracebacks or ugly messages."""

import numpy as np
import pandas as pd
import pytest

from mlrun.data.feature_selection import select_top
from mlrun.data.split import split_rows
from mlrun.data.split_settings import Split
from mlrun.errors import MlrunError
from tests.test_preprocess import apply, fit
from tests.test_split import DEFAULTS
from tests.test_table import lists, read
from tests.test_tabular import data_of, houses, load, names, write


def test_a_feature_that_determines_the_target_is_kept():
    table = pd.DataFrame({"noise": [1.0, 5, 2, 9, 3, 7] * 10, "t": [0.0, 1.0, 0.0] * 20})
    contract = fit(table)
    kept = select_top(
        contract, apply(contract, table).numpy(), table["t"].to_numpy(), top=1, by="f_test"
    )
    assert [f["name"] for f in kept["features"]] == ["t"]


def test_auto_is_a_plain_holdout_when_training_cannot_have_every_class():
    labels = np.array([0, 1, 2] * 3 + [0])
    train, valid = split_rows(Split(**DEFAULTS | {"ratio": 0.8}), labels, kind="classification")
    assert (len(train), len(valid)) == (2, 8)


def test_rows_are_ordered_by_an_id_that_is_a_number():
    write("t.csv", houses(20).assign(id=range(20)))
    dataset = load(split={"method": "time", "column": "id"})
    assert dataset.valid.ids == ["16", "17", "18", "19"]


def test_separators_within_quoted_names_do_not_count():
    assert list(read('"a;b;c",d\n1,2\n')) == ["a;b;c", "d"]


def test_a_number_category_is_the_same_beside_a_text():
    contract = fit(read("c\n1.0\n2.0\n"), "c")
    assert apply(contract, read("c\n1.0\nx\n")).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_the_target_is_no_feature():
    write("t.csv", houses())
    with pytest.raises(MlrunError, match="price"):
        load(features=["size", "price"])


@pytest.mark.parametrize("line", ["\t\t\t\t", "\t\t"])
def test_a_line_of_separators_alone_is_counted(line):
    with pytest.raises(MlrunError, match="line 2: "):
        read(f"a\tb\n{line}\n1\t2\n")


def test_blank_lines_before_the_header_count():
    with pytest.raises(MlrunError, match="line 4: 3 fields"):
        read("\n\na,b\n1,2,3\n")


@pytest.mark.parametrize("quote", ["", '"'])
def test_lines_of_spaces_are_blank(quote):
    assert lists(read(f"a,b\n1,2\n  \n{quote}3{quote},4\n")) == {"a": [1, 3], "b": [2, 4]}


def test_a_feature_named_twice_counts_once():
    write("t.csv", houses())
    assert names(load(features=["size", "size"])) == ["size"]


@pytest.mark.parametrize(
    "setting",
    [{"missing": "a number"}, {"categorical": "a list [a,b]"}, {"features": "a list [a,b]"}],
)
def test_the_words_of_a_message_are_no_setting(setting):
    with pytest.raises(MlrunError):
        data_of("csv", train="t.csv", **setting)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_only_a_finite_number_stands_in_for_a_missing_value(value):
    with pytest.raises(MlrunError, match=r"data\.missing"):
        data_of("csv", train="t.csv", missing=value)


def test_an_id_column_that_is_in_no_file_is_named():
    write("t.csv", houses().rename(columns={"id": "number"}))
    with pytest.raises(MlrunError, match=r"data\.id"):
        load(id="numbr")


def test_mutual_information_of_classes_with_one_row_each_is_refused():
    write("t.csv", pd.DataFrame({"x": [1, 2, 3], "y": ["a", "b", "c"]}))
    with pytest.raises(MlrunError, match="no class has 2 training rows"):
        load(kind="classification", features={"top": 1, "by": "mutual_info"})


def test_mutual_information_works_on_a_few_rows():
    write("t.csv", houses(4)[["size", "rooms", "price"]])
    assert len(names(load(kind="regression", features={"top": 1, "by": "mutual_info"}))) == 1


def test_a_missing_value_in_the_time_column_is_refused():
    write("t.csv", houses().assign(day=[np.nan, *(f"2020-01-{i:02}" for i in range(1, 30))]))
    with pytest.raises(MlrunError, match="day"):
        load(target="price", drop=["day"], split={"method": "time", "column": "day"})


def test_text_in_a_time_column_of_numbers_is_refused():
    write("t.csv", houses().assign(day=["x", *range(1, 30)]))
    with pytest.raises(MlrunError, match="day"):
        load(target="price", drop=["day"], split={"method": "time", "column": "day"})


def test_numbers_too_large_to_scale_are_refused():
    write("t.csv", houses().assign(size=[1e308, -1e308] * 15))
    with pytest.raises(MlrunError, match="size"):
        load()


def test_numbers_too_large_for_their_mean_are_refused():
    write("t.csv", houses().assign(size=[1e308, 1e308, 7] * 10))
    with pytest.raises(MlrunError, match="column 'size' has numbers that are too large"):
        load(missing="mean")


def test_a_target_too_large_to_compute_with_is_named():
    write("t.csv", houses().assign(price=[0.5, 1e308] * 15))
    with pytest.raises(MlrunError, match=r"row 2, column 'price': 1e\+308 is too large"):
        load()


def test_a_rare_class_gives_no_python_warning():
    labels = np.array([0] * 28 + [1] * 2)
    split = Split(**DEFAULTS | {"method": "stratified_kfold"})
    train, valid = split_rows(split, labels, kind="classification")
    assert len(train) + len(valid) == 30


def test_a_training_file_is_needed():
    with pytest.raises(MlrunError, match=r"data\.train"):
        load(train=[])


def test_a_target_that_is_listed_as_a_category_is_not_called_absent():
    write("t.csv", houses())
    with pytest.raises(MlrunError) as caught:
        load(categorical=["price"])
    assert "has no column" not in str(caught.value)


def test_three_columns_of_one_name_are_not_both():
    with pytest.raises(MlrunError) as caught:
        read("a,a,a\n1,2,3\n")
    assert "both" not in str(caught.value)


def test_a_long_list_of_rare_classes_is_abridged():
    with pytest.raises(MlrunError) as caught:
        split_rows(
            Split(**DEFAULTS | {"method": "stratified"}), np.arange(1000) + 0.5, kind="regression"
        )
    assert len(str(caught.value)) < 400


def test_a_negative_seed_is_not_answered_with_holdout_always_works():
    with pytest.raises(MlrunError) as caught:
        split_rows(
            Split(**DEFAULTS | {"method": "holdout", "seed": -1}), np.arange(9), kind="regression"
        )
    assert "always works" not in str(caught.value)


@pytest.mark.draws
def test_dollars_and_braces_in_class_names_begin_no_formula(mlrun, write_csv):
    rows = "".join(f"{i},{('$a_$', 'b^{', chr(92) + 'frac')[i % 3]}\n" for i in range(30))
    write_csv("my.csv", f"x,y\n{rows}")
    assert mlrun("task=csv", "data.train=my.csv", "debug=smoke", "quiet=true").code == 0


def test_a_text_with_thousands_of_values_is_left_out_unless_configured(mlrun, write_csv):
    rows = "".join(f"{i},c{i % 1100},{i % 2}\n" for i in range(2400))
    write_csv("my.csv", f"x,c,y\n{rows}")
    answer = mlrun("task=csv", "data.train=my.csv", "debug=smoke")
    assert "c: 1100 different texts in 2400 rows" in answer.out
