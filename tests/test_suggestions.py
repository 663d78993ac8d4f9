"""Words of other programs, and of typing mistakes, get the words that work here."""

from pathlib import Path

import pytest

from mlrun.config.suggestions import full_key
from mlrun.errors import did_you_mean


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--epochs 10", "unknown option --epochs; write trainer.epochs=10"),
        ("--epochs=10", "unknown option --epochs; write trainer.epochs=10"),
        ("--batch-size 32", "unknown option --batch-size; write trainer.batch_size=32"),
        ("--lr", "unknown option --lr; write optimizer.lr=…"),
        ("--gpu", "unknown option --gpu; write device=cuda"),
        ("--optimzer sgd", "unknown option --optimzer; write optimizer=sgd"),
        ("-v", "unknown option -v; write KEY=VALUE"),
        ("--config-name=big", "--config-name: mlrun has one configuration; select a part of it"),
        ("-cn big", "experiment=big (conf/experiment/big.yaml)"),
        ("+experiment=covid_linear", "leave out the +: experiment=covid_linear"),
        ("+task=covid", "+task=…: 'task' is always there; leave out the +"),
        ("scheduler=none", "scheduler=constant keeps the learning rate"),
        ("experiment=", "experiment= names no option of group 'experiment'"),
        ("epochs 10", "Did you mean trainer.epochs=10?"),
        ("covid", "Did you mean task=covid?"),
        ("delete outputs/run", "mlrun deletes nothing; a run is one folder: rm -r RUN"),
        ("list", "Did you mean 'ls'?"),
        ("evaluat run", "Did you mean 'evaluate'?"),
    ],
)
def test_a_word_of_another_program_gets_ours(mlrun, words, message):
    answer = mlrun(*words.split())
    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert not Path("outputs").exists()


@pytest.mark.parametrize("word", ["delete", "none", "xy", "cosine_annealing_warm"])
def test_a_suggestion_has_more_in_common_than_two_letters(word):
    assert did_you_mean(word, ["evaluate", "onecycle", "cosine", "xz", "data", "adam"]) in (
        "",
        " Did you mean 'cosine'?" if word.startswith("cosine") else "",
    )


@pytest.mark.parametrize(
    ("word", "choices", "wanted"),
    [
        ("last", ["data", "outputs"], ""),
        ("delete", ["evaluate"], ""),
        ("mpl", ["mlp", "cnn"], "mlp"),
        ("cn", ["mlp", "cnn"], "cnn"),
        ("mse", ["valid/loss", "valid/mse"], "valid/mse"),
        ("valid/xyz", ["valid/mse", "valid/mae"], ""),
        ("valid/acc", ["valid/loss", "valid/accuracy"], "valid/accuracy"),
        ("lr", ["l1", "l2"], ""),
        ("Adam", ["adam"], "adam"),
        ("", ["adam"], ""),
    ],
)
def test_the_nearest_word_is_suggested_if_it_is_near(word, choices, wanted):
    assert did_you_mean(word, choices) == (f" Did you mean '{wanted}'?" if wanted else "")


def test_a_name_is_completed_to_its_key():
    names = ("epochs", "lr", "momentum", "hidden", "seed", "learning_rate", "nonsense")
    keys = ["trainer.epochs", "optimizer.lr", "optimizer.momentum", "model.hidden", "seed"]
    assert [full_key(name) for name in names] == [*keys, "optimizer.lr", ""]
