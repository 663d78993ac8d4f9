"""Tables from YAML: the three shapes of data a user may have, and what their files may not be."""

import functools
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from mlrun.config import build
from mlrun.config import options as catalogue
from mlrun.config import schema as config
from mlrun.data.dataset import Dataset
from mlrun.data.findings import Finding
from mlrun.errors import MlrunError


@functools.cache
def composed(task: str) -> DictConfig:
    """The real configuration of a task, as `mlrun task=…` composes it."""
    config.register()
    with hydra.initialize_config_dir(version_base="1.3", config_dir=str(catalogue.CONF)):
        return hydra.compose("config", overrides=[f"task={task}"])


def data_of(task: str, **settings: Any) -> Any:
    """The task's data with some settings changed."""
    node: Any = OmegaConf.to_container(OmegaConf.merge(composed(task).data, settings), resolve=True)
    return build.build("data", {"data": node})


def load(task: str = "csv", **settings: Any) -> Dataset:
    if task == "csv":
        settings = {"train": "t.csv"} | settings
    dataset: Dataset = data_of(task, **settings).load()
    return dataset


def write(name: str, table: pd.DataFrame) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    return path


def houses(rows: int = 30) -> pd.DataFrame:
    """Two numbers, a text, an id and a price that follows from them."""
    size, rooms = np.arange(rows) * 3.5 + 20, np.arange(rows) * 7 % 5
    town = np.array(["Bonn", "Köln", "Ulm"])[np.arange(rows) % 3]
    price = 2.5 * size + rooms
    return pd.DataFrame(
        {"id": np.arange(rows) + 500, "size": size, "rooms": rooms, "town": town, "price": price}
    )


HOUSE_FEATURES = ("size", "rooms", "town=Bonn", "town=Köln", "town=Ulm", "town=(unknown)")


def names(dataset: Dataset) -> list[str]:
    return [column["name"] for column in dataset.contract["columns"]]


def features(dataset: Dataset) -> torch.Tensor:
    """Of the rows to predict, after preprocessing."""
    result: torch.Tensor = dataset.preprocess(dataset.predict.inputs)
    return result


# --- a CSV of one's own ---------------------------------------------------------------------


def test_one_file_is_enough():
    write("t.csv", houses())
    spec = load().spec
    assert (spec.kind, spec.target, spec.header) == ("regression", "price", ("id", "price"))
    assert spec.features == HOUSE_FEATURES
    assert (spec.in_shape, spec.out_features) == ((6,), 1)


def test_without_a_test_file_the_held_out_rows_are_predicted():
    write("t.csv", houses())
    dataset = load()
    assert len(dataset.predict) == 6
    assert dataset.predict.ids == [str(500 + row) for row in dataset.split["valid"]]


def test_every_row_trains_or_validates():
    write("t.csv", houses())
    dataset = load()
    assert sorted(dataset.train.ids + dataset.valid.ids) == [str(i) for i in range(500, 530)]


def test_a_test_file_provides_the_rows_to_predict_and_determines_the_target():
    write("t.csv", houses()[["price", "size", "rooms"]])
    write("u.csv", pd.DataFrame({"rooms": [1, 2], "size": [30, 40], "ID": ["x", "y"]}))
    dataset = load(test="u.csv")
    assert dataset.spec.target == "price"
    assert dataset.spec.header == ("ID", "price")
    assert dataset.predict.ids == ["x", "y"]
    assert dataset.test is None


def test_a_test_file_with_targets_gives_test_rows():
    write("t.csv", houses())
    write("u.csv", houses(4))
    test = load(test="u.csv").test
    assert test is not None
    assert test.targets is not None
    assert test.targets.ravel().tolist() == houses(4)["price"].tolist()


def test_a_test_file_with_an_empty_target_column_gives_no_test_rows():
    write("t.csv", houses())
    write("u.csv", houses(4).assign(price=None))
    dataset = load(test="u.csv")
    assert dataset.test is None
    assert len(dataset.predict) == 4


def test_rows_of_a_test_file_without_a_target_are_predicted_and_not_scored():
    write("t.csv", houses())
    write("u.csv", houses(3).assign(price=[1.0, np.nan, 2.0]))
    dataset = load(test="u.csv")
    assert len(dataset.predict) == 3
    assert dataset.test is not None
    assert dataset.test.targets is not None
    assert dataset.test.targets.ravel().tolist() == [1.0, 2.0]
    value = "1 of 3 have no 'price': not scored"
    assert Finding("u.csv: rows", value) in dataset.findings


def test_training_rows_without_a_target_are_left_out():
    prices = houses()["price"].astype(object)
    write("t.csv", houses().assign(price=["n/a", *prices[1:]]))
    dataset = load(missing="error")
    assert len(dataset.train) + len(dataset.valid) == len(prices) - 1
    assert Finding("rows", "1 of 30 have no 'price': left out") in dataset.findings


def test_row_numbers_in_pred_csv_count_the_rows_without_a_target():
    prices = [*map(str, houses()["price"])]
    prices[3] = prices[17] = ""
    write("t.csv", houses().assign(price=prices).drop(columns="id"))
    dataset = load()
    assert sorted([*dataset.train.ids, *dataset.valid.ids]) == [
        row for row in range(30) if row not in (3, 17)
    ]


def test_the_prediction_may_be_named():
    write("t.csv", houses())
    assert load(prediction="euros").spec.header == ("id", "euros")


def test_the_id_column_may_be_named():
    write("t.csv", houses().rename(columns={"id": "number"}))
    dataset = load(id="number")
    assert dataset.spec.header == ("number", "price")
    assert dataset.spec.features == HOUSE_FEATURES


def test_the_target_may_be_any_column():
    write("t.csv", houses()[["price", "size", "rooms"]])
    dataset = load(target="price")
    assert dataset.spec.target == "price"
    assert names(dataset) == ["size", "rooms"]


def test_regression_targets_are_a_column_in_their_own_unit():
    write("t.csv", houses())
    targets = load(split={"method": "time"}).train.targets
    assert targets is not None
    assert (targets.dtype, targets.shape) == (torch.float64, (24, 1))
    assert targets.ravel().tolist() == houses()["price"][:24].tolist()


def test_the_target_is_scaled_by_the_training_rows():
    write("t.csv", houses())
    spec = load(split={"method": "time"}).spec
    training = houses()["price"][:24].to_numpy()
    assert spec.target_center == pytest.approx(training.mean())
    assert spec.target_scale == pytest.approx(training.std())


def test_target_scaling_can_be_switched_off():
    write("t.csv", houses())
    spec = load(scale_target=False).spec
    assert (spec.target_center, spec.target_scale) == (0.0, 1.0)


def test_a_single_training_row_leaves_the_target_unscaled():
    write("t.csv", houses(2))
    assert load(split={"method": "time"}).spec.target_scale == 1.0


def test_a_target_of_one_value_is_refused():
    write("t.csv", houses().assign(price=7.5))
    with pytest.raises(MlrunError, match=r"t\.csv: the target 'price' is 7\.5 in every row"):
        load()


def test_classes_are_never_scaled():
    write("t.csv", houses()[["size", "town"]])
    spec = load(scale_target=True).spec
    assert (spec.target_center, spec.target_scale) == (0.0, 1.0)


def test_text_targets_are_classes():
    write("t.csv", houses()[["size", "rooms", "town"]])
    dataset = load(split={"method": "time"})
    assert dataset.spec.kind == "classification"
    assert dataset.spec.classes == ("Bonn", "Köln", "Ulm")
    assert dataset.spec.out_features == 3
    assert dataset.train.targets is not None
    assert dataset.train.targets[:4].tolist() == [0, 1, 2, 0]


def test_the_kind_may_be_configured():
    write("t.csv", houses()[["size", "rooms"]])
    assert load().spec.kind == "classification"
    assert load(kind="regression").spec.kind == "regression"


def test_a_class_only_the_test_file_has_is_named():
    write("t.csv", houses()[["size", "town"]])
    write("u.csv", pd.DataFrame({"size": [1], "town": ["Jena"]}))
    with pytest.raises(MlrunError, match=r"u\.csv, row 1, column 'town': class 'Jena'"):
        load(test="u.csv")


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_handful_of_rows_can_be_trained_on(count):
    write("t.csv", houses(count)[["size", "price"]])
    dataset = load(kind="regression")
    assert len(dataset.train) + len(dataset.valid) == count
    assert dataset.preprocess(dataset.valid.inputs).isfinite().all()


# --- features -------------------------------------------------------------------------------


def test_features_may_be_listed_in_any_order():
    write("t.csv", houses())
    assert load(features=["rooms", "size"]).spec.features == ("rooms", "size")


def test_a_listed_feature_that_is_not_there_is_named():
    write("t.csv", houses())
    with pytest.raises(MlrunError, match=r"no column 'room' \(data\.features\).*'rooms'\?"):
        load(features=["size", "room"])


def test_the_best_features_alone_are_kept():
    write("t.csv", houses())
    dataset = load(features={"top": 1, "by": "correlation"})
    assert dataset.spec.features == ("size",)
    assert names(dataset) == ["size"]


def test_dropped_columns_are_no_features():
    write("t.csv", houses())
    assert names(load(drop=["town", "rooms"])) == ["size"]


def test_a_dropped_column_that_is_not_there_is_named():
    write("t.csv", houses())
    with pytest.raises(MlrunError, match=r"no column 'twon' \(data\.drop\).*'town'\?"):
        load(drop=["twon"])


def test_without_a_feature_there_is_nothing_to_learn_from():
    write("t.csv", houses())
    with pytest.raises(MlrunError, match="no feature column is left to predict 'price'"):
        load(drop=["size", "rooms", "town"])


def test_whole_numbers_may_be_categories():
    write("t.csv", houses())
    assert load(categorical=["rooms"], features=["rooms"]).spec.features == (
        *(f"rooms={number}" for number in range(5)),
        "rooms=(unknown)",
    )


def test_categories_may_be_ordinal():
    write("t.csv", houses())
    assert load(encode="ordinal").spec.features == ("size", "rooms", "town")


def test_a_column_without_a_name_is_no_feature():
    houses().to_csv("t.csv")
    assert load().spec.features == HOUSE_FEATURES


def test_free_text_is_no_feature():
    write("t.csv", houses(100).assign(size=[f"house {i}" for i in range(100)]))
    assert "size" not in names(load())


def test_text_in_a_column_listed_as_numbers_is_named_with_the_way_out():
    write("t.csv", houses())
    with pytest.raises(MlrunError, match=r"column 'town': .*data\.categorical=\['town'\]"):
        load(categorical="none")


def test_missing_values_are_filled_on_request():
    write("t.csv", houses().assign(rooms=[np.nan, *range(29)]))
    assert load(missing="median").preprocess(load(missing="median").train.inputs).isfinite().all()


def test_missing_values_are_refused_on_request():
    write("t.csv", houses().assign(rooms=[np.nan, *range(29)]))
    with pytest.raises(MlrunError, match=r"row 1, column 'rooms': the value is missing"):
        load(missing="error")


def test_columns_of_one_name_are_refused_unless_they_are_numbered():
    Path("t.csv").write_text("a,a,y\n" + "".join(f"{i},{-i},{i / 2}\n" for i in range(9)))
    with pytest.raises(MlrunError, match=r"data\.duplicates=number"):
        load()
    assert names(load(duplicates="number")) == ["a", "a.1"]


# --- fitted on training rows alone, and again from a record ---------------------------------


def test_a_validation_row_does_not_change_what_is_fitted():
    table = houses()
    settings: dict[str, Any] = {"split": {"method": "time"}, "features": {"top": 3, "by": "f_test"}}
    write("t.csv", table)
    before = load(**settings)
    write(
        "t.csv", table.assign(size=[*table["size"][:-1], 1e6], town=[*table["town"][:-1], "Jena"])
    )
    after = load(**settings)
    assert after.contract == before.contract
    assert after.spec == before.spec
    assert not torch.equal(features(after), features(before))


def test_a_recorded_split_is_drawn_again():
    write("t.csv", houses())
    dataset = data_of("csv", train="t.csv").load(split={"train": [3, 1], "valid": [2]})
    assert (dataset.train.ids, dataset.valid.ids) == (["503", "501"], ["502"])


def test_a_recorded_contract_is_used_as_it_is():
    write("t.csv", houses())
    contract = load(scale="minmax", features=["rooms"]).contract
    assert data_of("csv", train="t.csv").load(contract=contract).contract == contract


def test_recorded_files_are_read_where_they_were():
    path = write("elsewhere/t.csv", houses())
    dataset = data_of("csv", train="no.csv").load(files={"train": path})
    assert dataset.files == {"train": path}


def test_groups_stay_together():
    write("t.csv", houses())
    dataset = load(split={"method": "group", "column": "town"})
    towns = houses()["town"].to_numpy()
    assert not set(towns[dataset.split["train"]]) & set(towns[dataset.split["valid"]])


def test_a_split_column_that_is_not_there_is_named():
    write("t.csv", houses())
    with pytest.raises(MlrunError, match=r"no column 'twon' \(data\.split\.column\).*'town'"):
        load(split={"method": "group", "column": "twon"})


# --- a new file for a trained model ---------------------------------------------------------


def read_new(table: pd.DataFrame) -> Any:
    write("t.csv", houses())
    data = data_of("csv", train="t.csv")
    predictor = data.load()
    path = write("new.csv", table)
    return data.read_file(path, predictor.contract, predictor.spec, allow_unknown=True)


def test_the_order_of_a_new_files_columns_does_not_matter():
    shuffled = houses()[["town", "price", "rooms", "id", "size"]]
    assert torch.equal(read_new(shuffled).inputs, read_new(houses()).inputs)


def test_a_new_file_with_targets_has_them():
    assert read_new(houses(3)).targets.ravel().tolist() == houses(3)["price"].tolist()


def test_a_new_file_without_targets_has_none():
    assert read_new(houses(3).drop(columns="price")).targets is None


def test_a_new_files_ids_are_kept_as_text():
    assert read_new(houses(3)).ids == ["500", "501", "502"]


def test_a_new_file_without_an_id_column_counts_its_rows():
    assert read_new(houses(3).drop(columns="id")).ids == [0, 1, 2]


def test_a_new_category_goes_to_the_unknown():
    rows = read_new(houses(1).assign(town="Jena"))
    dataset = load()
    hot = dataset.preprocess(rows.inputs)[0]
    assert dict(zip(dataset.spec.features, hot.tolist(), strict=True))["town=(unknown)"] == 1


def test_a_column_a_new_file_lacks_is_named():
    with pytest.raises(
        MlrunError, match=r"new\.csv: 1 of the model's 3 columns are missing: 'rooms'"
    ):
        read_new(houses(3).drop(columns="rooms"))


def test_a_value_of_another_type_in_a_new_file_is_named():
    with pytest.raises(MlrunError, match=r"new\.csv, row 2, column 'rooms': 'two' is not a"):
        read_new(houses(3).assign(rooms=["1", "two", "3"]))


# --- the homework's tables ------------------------------------------------------------------


def survey(rows: int, *, days: int = 3, states: int = 40, seed: int = 0) -> pd.DataFrame:
    """Another edition of the covid table: id, states, 17 answers and tested_positive a day."""
    random = np.random.default_rng(seed)
    parts = [pd.DataFrame({"id": range(rows)})]
    state = np.eye(states, dtype=int)[random.integers(states, size=rows)]
    parts.append(pd.DataFrame(state, columns=[f"S{i}" for i in range(states)]))
    for _ in range(days):
        answers = random.normal(30, 9, size=(rows, 18))
        answers[:, 17] = answers[:, 0] / 2 + random.normal(size=rows)
        columns = [*(f"answer{i}" for i in range(17)), "tested_positive"]
        parts.append(pd.DataFrame(answers, columns=columns))
    return pd.concat(parts, axis=1)


def write_covid(train: str = "covid.train.csv", test: str = "covid.test.csv") -> None:
    write(f"data/covid/{train}", survey(120))
    write(f"data/covid/{test}", survey(30, seed=1).iloc[:, :-1])


@pytest.mark.slow
def test_another_edition_of_covid_needs_no_other_yaml():
    write_covid()
    spec = load("covid").spec
    assert (spec.kind, spec.target) == ("regression", "tested_positive.2")
    assert spec.header == ("id", "tested_positive")
    assert spec.in_shape == (24,)


def test_the_covid_test_file_with_numbered_names_is_predicted():
    write_covid()
    dataset = load("covid")
    assert dataset.predict.ids == [str(row) for row in range(30)]
    assert features(dataset).shape == (30, 24)
    assert not dataset.sample


def test_all_the_columns_of_covid_are_features_on_request():
    write_covid()
    dataset = load("covid", features="all")
    assert len(names(dataset)) == 40 + 3 * 18 - 1
    assert "id" not in names(dataset)
    assert {"answer0", "answer0.1", "answer0.2", "tested_positive.1"} <= set(names(dataset))


@pytest.mark.parametrize("train", ["covid.train.csv", "covid_train.csv"])
@pytest.mark.parametrize("test", ["covid.test.csv", "covid_test.csv"])
@pytest.mark.slow
def test_both_spellings_of_the_covid_files_are_found(train, test):
    write_covid(train, test)
    assert {path.name for path in load("covid").files.values()} == {train, test}


def test_covid_without_its_test_file_is_refused():
    write("data/covid/covid.train.csv", survey(20))
    with pytest.raises(MlrunError, match=r"no file covid\.test\.csv or covid_test\.csv in "):
        load("covid")


def phones(labels: Any = (0, 1, 2, 3), rows: int = 40) -> pd.DataFrame:
    ram = np.arange(rows) * 100
    number = np.arange(rows) % len(labels)
    return pd.DataFrame(
        {"ram": ram, "wifi": number % 2, "price_range": np.array(labels, dtype=object)[number]}
    )


@pytest.mark.parametrize("name", ["train.csv", "phone_price.csv", "手机价格预测.csv"])
def test_the_phone_price_table_may_have_any_of_three_names(name):
    path = write(f"data/phone_price/{name}", phones())
    assert load("phone_price").files == {"train": path}


def test_phone_price_without_a_test_file_predicts_the_held_out_row_numbers():
    write("data/phone_price/train.csv", phones())
    dataset = load("phone_price")
    assert dataset.spec.header == ("id", "price_range")
    assert dataset.predict.ids == dataset.split["valid"].tolist()
    assert len(dataset.predict) == 8


def test_phone_price_with_a_test_file_predicts_its_ids():
    write("data/phone_price/train.csv", phones())
    write("data/phone_price/test.csv", pd.DataFrame({"id": [7, 9], "ram": [1, 2], "wifi": [0, 1]}))
    assert load("phone_price").predict.ids == ["7", "9"]


def test_the_phone_price_holdout_has_every_class_in_proportion():
    write("data/phone_price/train.csv", phones())
    targets = load("phone_price").valid.targets
    assert targets is not None
    assert torch.bincount(targets).tolist() == [2, 2, 2, 2]


def test_phone_price_classes_are_ordered_by_value():
    write("data/phone_price/train.csv", phones((10, 9, 2)))
    assert load("phone_price").spec.classes == ("2", "9", "10")


def test_phone_price_labels_may_be_words():
    write("data/phone_price/train.csv", phones(("cheap", "dear", "fair")))
    dataset = load("phone_price", split={"method": "time"})
    assert dataset.spec.classes == ("cheap", "dear", "fair")
    assert dataset.train.targets is not None
    assert dataset.train.targets[:4].tolist() == [0, 1, 2, 0]


def test_a_table_without_the_target_is_refused():
    write("data/phone_price/train.csv", phones().rename(columns={"price_range": "price"}))
    with pytest.raises(MlrunError, match=r"no column 'price_range' \(data\.target\).*'price'\?"):
        load("phone_price")


# --- settings -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"kind": "regresion"}, r"data\.kind=regresion: .*Did you mean 'regression'\?"),
        ({"scale": "standrad"}, r"data\.scale=standrad: .*Did you mean 'standard'\?"),
        ({"encode": "one_hot"}, r"data\.encode=one_hot: .*Did you mean 'onehot'\?"),
        ({"duplicates": "numbers"}, r"data\.duplicates=numbers: .*Did you mean 'number'\?"),
        ({"missing": "medain"}, r"data\.missing=medain: .*or a number\. Did you mean 'median'\?"),
        ({"categorical": "all"}, r"data\.categorical=all: must be auto or none or a list"),
        ({"features": "alll"}, r"data\.features=alll: .*Did you mean 'all'\?"),
        ({"features": {"top": 3}}, r"data\.features: write a selection as \{top: 24, by: f_test\}"),
        (
            {"features": {"top": "many", "by": "f_test"}},
            r"data\.features: write a selection as \{top: 24",
        ),
        ({"features": {"top": 0, "by": "f_test"}}, r"data\.features\.top=0: .*at least 1"),
        (
            {"features": {"top": 3, "by": "ftest"}},
            r"data\.features\.by=ftest: .*Did you mean 'f_test'\?",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_named(setting, words):
    with pytest.raises(MlrunError, match=words):
        data_of("csv", train="t.csv", **setting)


def test_a_split_that_cannot_be_is_named():
    write("t.csv", houses())
    with pytest.raises(MlrunError, match=r"data\.split\.method=kfolds.*Did you mean 'kfold'\?"):
        load(split={"method": "kfolds"})


def test_a_training_file_without_a_name_is_requested():
    with pytest.raises(MlrunError, match=r"data\.train is not set: use data\.train=…"):
        data_of("csv")


def test_a_training_file_that_is_not_there_is_named():
    write("train.csv", houses())
    with pytest.raises(MlrunError, match=r"no file trains\.csv.*data\.train\. Did you mean 'train"):
        load(train="trains.csv")


def test_validation_rows_that_are_copies_of_training_rows_are_reported(caplog):
    caplog.set_level("INFO", logger="mlrun")
    table = houses()
    write("t.csv", pd.concat([table, table.iloc[:6]]))
    dataset = load()
    rows = [
        tuple(row) for row in pd.concat([table, table.iloc[:6]])[["size", "rooms", "price"]].values
    ]
    train = {rows[number] for number in dataset.split["train"]}
    copies = sum(rows[number] in train for number in dataset.split["valid"])
    assert copies
    assert f"{copies} of {len(dataset.valid)} validation rows are copies of training" in caplog.text
