"""Column names in overrides, as people type them."""

import json
from pathlib import Path

import pytest

from mlrun.config.column_words import with_quoted_names

HEADER = "2019,2021,Preis (€),价格,a.b,x=y\n"
TABLE = HEADER + "".join(f"{n},{2 * n}.5,{n}.1,{3 * n}.2,{n}.7,{n}.9\n" for n in range(40))
RUN = ("task=csv", "data.train=odd.csv", "trainer.epochs=1", "quiet=true")


@pytest.mark.parametrize("name", ["2021", "Preis (€)", "价格", "a.b", "x=y"])
@pytest.mark.slow
def test_any_column_name_can_be_the_target_as_typed(mlrun, write_csv, name):
    write_csv("odd.csv", TABLE)
    assert mlrun(*RUN, f"data.target={name}", "hydra.run.dir=run").code == 0
    assert json.loads(Path("run/run.json").read_text())["spec"]["target"] == name
    assert mlrun("rerun", "run").code == 0


def test_lists_of_odd_names_are_taken_as_typed(mlrun, write_csv):
    write_csv("odd.csv", TABLE)
    words = ("data.target=2021", "data.features=[2019,Preis (€),a.b]", "data.drop=[a.b]")
    assert mlrun(*RUN, *words, "hydra.run.dir=run").code == 0
    features = json.loads(Path("run/run.json").read_text())["spec"]["features"]
    assert features == ["2019", "Preis (€)"]


@pytest.mark.parametrize(
    ("word", "targets"),
    [
        ("data.target=2021,a.b", ["2021", "a.b"]),
        ("data.target=价格,Preis (€),2021", ["价格", "Preis (€)", "2021"]),
        ("data.target=choice(2021,价格)", ["2021", "价格"]),
    ],
)
@pytest.mark.slow
def test_a_sweep_over_targets_takes_odd_words_as_names(mlrun, write_csv, word, targets):
    write_csv("odd.csv", TABLE)
    assert mlrun("-m", *RUN, word, "hydra.sweep.dir=sweep").code == 0
    records = [json.loads(Path(f"sweep/{job}/run.json").read_text()) for job in range(len(targets))]
    assert [record["spec"]["target"] for record in records] == targets


def test_a_sweep_over_lists_takes_numbers_as_names(mlrun, write_csv):
    write_csv("odd.csv", TABLE)
    words = ("data.target=2021", "data.features=[2019],[2019,价格]", "hydra.sweep.dir=sweep")
    assert mlrun("-m", *RUN, *words).code == 0
    records = [json.loads(Path(f"sweep/{job}/run.json").read_text()) for job in range(2)]
    assert [record["spec"]["features"] for record in records] == [["2019"], ["2019", "价格"]]


@pytest.mark.parametrize(
    "word",
    [
        "data.target=price",
        "data.target='2021'",
        "data.target=null",
        "data.drop=[a,b]",
        "data.features=all",
        "data.features={top: 9, by: f_test}",
        "data.target=a,b",
        "optimizer.lr=0.1",
        "~data.drop",
    ],
)
def test_words_that_hydra_reads_as_text_stay_as_they_are(word):
    assert with_quoted_names([word], sweep=False) == with_quoted_names([word], sweep=True) == [word]


def test_quotes_within_a_name_are_escaped():
    assert with_quoted_names(["data.target=it's"], sweep=False) == [r"data.target='it\'s'"]


def test_null_stays_null_among_names():
    assert with_quoted_names(["data.id=null,7"], sweep=True) == ["data.id=null,'7'"]


def test_commas_separate_names_only_in_sweeps():
    word = "data.target=Preis (€), netto"
    assert with_quoted_names([word], sweep=False) == ["data.target='Preis (€), netto'"]
    assert with_quoted_names([word], sweep=True) == ["data.target='Preis (€)','netto'"]


@pytest.mark.parametrize(
    ("typed", "read"), [("[null]", "['null']"), ("[x,null]", "['x','null']"), ("null", "null")]
)
def test_null_in_a_list_is_a_word(typed, read):
    assert with_quoted_names([f"data.na_values={typed}"], sweep=False) == [f"data.na_values={read}"]
