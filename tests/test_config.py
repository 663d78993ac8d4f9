"""The configuration tree: every option composes, names an allowed class, binds to it."""

import functools
import inspect
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from mlrun.config.allowlist import ALLOWED, resolve
from mlrun.config.build import plain
from mlrun.config.options import CONF, GROUPS, options
from mlrun.config.schema import register, settings_of
from mlrun.config.values import composed
from mlrun.errors import MlrunError


@pytest.fixture(autouse=True)
def hydra_conf() -> Iterator[None]:
    register()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        yield


@functools.cache
def config(*overrides: str) -> DictConfig:
    return compose("config", overrides=list(overrides))


EVERY_OPTION = [(group, option) for group in GROUPS for option in options(group)]


def together(*groups: str) -> list[tuple[str, ...]]:
    """As few compositions as hold every option of these groups, an option of each at a time."""
    named = [[f"{group}={option}" for option in options(group)] for group in groups]
    return [tuple(words[n % len(words)] for words in named) for n in range(max(map(len, named)))]


# Composing takes longer than anything else here, so independent groups are composed together.
COMPOSITIONS = [
    *together("task", "model", "loss", "optimizer", "scheduler", "metric", "trainer", "debug"),
    *together("data", "hparams"),
    *together("experiment"),
]


@pytest.fixture(scope="module", params=COMPOSITIONS, ids=" ".join)
def words(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Of one of the compositions, with which every test below goes on before the next one."""
    chosen: tuple[str, ...] = request.param
    return chosen


def test_the_compositions_hold_every_option():
    assert {word for words in COMPOSITIONS for word in words} == {
        f"{group}={option}" for group, option in EVERY_OPTION
    }


def test_options_compose_into_valid_settings(words):
    values = composed(config(*words)).values
    settings = settings_of(values)
    assert settings.trainer.epochs == values["trainer"]["epochs"]


def test_every_key_of_an_option_is_an_argument_of_its_class(words):
    values = composed(config(*words)).values
    for group in [group for group in GROUPS if group in ALLOWED]:
        node: dict[str, Any] = plain(values[group])
        several = [entry for entry in node.values() if isinstance(entry, Mapping)]  # loss=auto
        for entry in [node] if "_target_" in node else several:
            arguments = {*entry} - {"_target_", "_partial_"}
            assert arguments <= {*inspect.signature(resolve(group, entry)).parameters}


@pytest.mark.parametrize(("group", "option"), EVERY_OPTION)
def test_every_option_is_described_by_its_first_comment(group, option):
    assert options(group)[option]


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_configuration_file_is_short(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 42


TASKS, OPTIMIZERS = (
    ("covid", "phone_price", "mnist"),
    ("sgd", "adagrad", "rmsprop", "adam", "adamw"),
)
FAST = (("covid", "sgd"), ("phone_price", "adam"), ("mnist", "adamw"))


@pytest.mark.parametrize(
    ("task", "option"),
    [
        pytest.param(*pair, marks=() if pair in FAST else pytest.mark.slow)
        for pair in itertools.product(TASKS, OPTIMIZERS)
    ],
)
def test_a_task_leaks_no_number_into_a_swapped_optimizer(task, option):
    alone = OmegaConf.load(CONF / "optimizer" / f"{option}.yaml")
    assert config(f"task={task}", f"optimizer={option}").optimizer == alone


def test_the_command_line_beats_the_experiment_and_the_experiment_the_task():
    chosen = config("experiment=covid_linear", "optimizer=sgd", "optimizer.lr=9")
    assert chosen.optimizer.lr == 9
    assert chosen.optimizer._target_ == "torch.optim.SGD"
    assert chosen.model._target_ == "mlrun.models.linear.Linear"


def test_an_experiment_may_be_moved_to_another_seed_and_device():
    chosen = config("experiment=mnist_cnn", "seed=7", "device=cpu")
    assert (chosen.seed, chosen.device, chosen.task) == (7, "cpu", "mnist")


def test_mlrun_data_moves_every_task(monkeypatch):
    monkeypatch.setenv("MLRUN_DATA", "/elsewhere")
    for task in ("covid", "phone_price", "mnist"):
        assert config.__wrapped__(f"task={task}").data.dir == f"/elsewhere/{task}"


def slow(*values: str) -> pytest.ParameterSet:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.epochs=0", r"trainer\.epochs=0: must be at least 1"),
        slow("trainer.batch_size=-3", r"trainer\.batch_size=-3: must be at least 1"),
        slow("trainer.patience=0", r"trainer\.patience=0"),
        slow("trainer.clip_norm=0", r"trainer\.clip_norm=0\.0: must be more than 0"),
        ("trainer.clip_value=1e308", r"trainer\.clip_value=1e\+308: must be more than 0, at most"),
        ("~scheduler", "scheduler is not set"),
        slow("trainer.l1=-1", r"trainer\.l1=-1\.0: must be 0 or more"),
        ("trainer.mode=up", r"trainer\.mode=up: must be one of auto, min, max"),
        ("trainer.precision=bf61", r"Did you mean 'bf16'\?"),
        ("seed=-1", r"seed=-1: must be between"),
        slow("checkpoint.every_seconds=-1", r"checkpoint\.every_seconds"),
        ("+trainer.epoch=3", r"unknown key 'trainer\.epoch'\. Did you mean 'epochs'\?"),
        ("+sead=3", r"unknown key 'sead'\. Did you mean 'seed'\?"),
    ],
)
def test_settings_out_of_range_or_unknown_are_refused_by_name(override, message):
    with pytest.raises(MlrunError, match=message):
        settings_of(composed(config(override)).values)


def test_a_run_is_described_without_shapes_or_class_counts():
    text = OmegaConf.to_yaml(config("task=mnist", "model=cnn"))
    assert "784" not in text
    assert "out_features" not in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sweep": {"objectives": [None]}}, r"^sweep\.objectives\[0\]: must be a text$"),
        ({"trainer": []}, r"^trainer: must be a mapping$"),
    ],
)
def test_a_value_of_another_kind_is_refused_in_plain_words(changes, message):
    values = {**composed(config()).values}
    values |= {k: {**values[k], **v} if isinstance(v, dict) else v for k, v in changes.items()}
    with pytest.raises(MlrunError, match=message):
        settings_of(values)
