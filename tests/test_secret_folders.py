"""No secret is in any file of a run or sweep, nor in what it prints, however it was given."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrun.config.words import spelled
from mlrun.system.secrets import HIDDEN
from tests.conftest import Answer
from tests.fuzzing import EVERY_HEALTH_CHECK
from tests.test_cli import SMOKE
from tests.test_safety import assert_refused

SECRET = "5ecre7-5ecre7"
NETS = """
import logging, warnings
from torch import nn

class Own(nn.Sequential):
    def __init__(self, in_shape, out_features, *, token="", fails="", **other):
        super().__init__(nn.Linear(in_shape[0], out_features))
        self.texts = f"{token!r} {other} \\x1b[31m"
        self.fails = fails
        print(self.texts)
        logging.getLogger("other").warning(self.texts)
        if fails == "building":
            raise TypeError(f"bad settings: {self.texts}")

    def forward(self, x):
        if self.fails == "training":
            raise LookupError(f"no login\\n{self.texts}")
        return super().forward(x)
"""
OWN = (
    *("model._target_=secretnets.Own", "allow=[secretnets.*]", *SMOKE),
    *(f"~model.{name}" for name in ("hidden", "activation", "dropout", "norm", "init")),
)
SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2")
RATES = "optimizer.lr=interval(1e-4,1e-1)"


@pytest.fixture(autouse=True)
def _nets(write_csv, monkeypatch):
    write_csv("secretnets.py", NETS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("secretnets", None)


def shown_in(answer: Any, *folders: str, secret: str = SECRET) -> list[str]:
    """The names of streams, files and folders that have the secret."""
    files = [path for folder in folders for path in Path(folder).rglob("*")]
    plain = [path for path in files if path.is_file()]
    found = [str(path) for path in plain if secret.encode() in path.read_bytes()]
    streams = {"stdout": answer.out, "stderr": answer.err}
    found += [name for name, text in streams.items() if secret in text]
    return found + [str(path) for path in files if secret in str(path)]


@pytest.mark.parametrize(
    ("word", "fails"),
    [
        (f"+model.auth={{token:123456789-{SECRET}}}", ""),
        (f"+model.auth={{token:true{SECRET}}}", "building"),
        (f"+model.login={{password:'correct horse {SECRET}'}}", "training"),
        (f"+model.login={{tokens:[first,{SECRET}]}}", "training"),
        (f"+model.auth=[user,{SECRET}]", ""),
        (f"+model.url=http://me:{SECRET}@host/", ""),
        (f"+model.url='http://host/?api_key={SECRET}'", "building"),
    ],
)
@pytest.mark.slow
def test_a_secret_in_a_word_is_nowhere(mlrun, word, fails):
    answer = mlrun(*OWN, word, f"+model.fails={fails}", "hydra.run.dir=run")
    assert answer.code == {"": 0, "building": 2, "training": 1}[fails]
    assert shown_in(answer, "run") == []
    assert HIDDEN in answer.out + answer.err
    if Path("run").exists():
        assert HIDDEN in json.loads(Path("run/run.json").read_text())["command"]


@pytest.mark.parametrize("secret", [SECRET, "5ec"])
@pytest.mark.parametrize("reference", ["${model.token}", "http://${model.token}@h"])
@pytest.mark.slow
def test_a_reference_to_a_secret_is_nowhere(mlrun, secret, reference):
    words = (f"+model.token={secret}", "+model.login={url:'${model.token}'}")
    answer = mlrun(*OWN, *words, f"+model.url={reference}", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    config = Path("run/run.json").read_text()
    assert f'"{secret}"' not in config
    assert f"{secret}@" not in config
    assert json.loads(config)["config"]["model"]["token"] == HIDDEN
    if secret == SECRET:  # a text of three letters is hidden where it is recorded, and only there
        assert shown_in(answer, "run") == []
    assert_refused(mlrun("rerun", "run", "allow=[secretnets.*]"), "was a secret")


@pytest.mark.slow
def test_a_secret_of_a_file_or_of_the_environment_is_nowhere(mlrun, write_csv, monkeypatch):
    monkeypatch.setenv("SOME_NAME", SECRET)
    text = f"_target_: secretnets.Own\ntoken: {SECRET}1\nlogin: {{key: '${{oc.env:SOME_NAME}}2'}}\n"
    write_csv("conf/model/own.yaml", text)
    for fails in ("", "training"):
        answer = mlrun(*OWN[1:4], "model=own", f"+model.fails={fails}", "hydra.run.dir=run")
        assert shown_in(answer, "run") == []
        assert HIDDEN in answer.out
    for flags in (["--cfg", "all"], ["--cfg", "job", "--resolve"], ["--info", "all"]):
        answer = mlrun(*flags, "model=own", "+model.url=${model.login.key}")
        assert shown_in(answer) == []
        assert HIDDEN in answer.out


@pytest.mark.parametrize(
    "word",
    [
        f"+model.token={SECRET},other",
        f"+model.token={SECRET} [odd",
        f"+model.x={{token: {SECRET}",
        f"model.token={SECRET}",
        f"trainer.epochs={{token: {SECRET}}}",
        f"--token={SECRET}",
    ],
)
@pytest.mark.parametrize("verb", ["train", "-m"])
def test_no_error_repeats_a_secret(mlrun, word, verb):
    words = [verb, *SMOKE, word, "seed=0,1" if verb == "-m" else "seed=0", "+no_such_key=1"]
    answer = mlrun(*words)
    assert answer.code == 2
    assert shown_in(answer) == []


def test_resuming_repeats_no_secret(mlrun):
    assert mlrun(*SMOKE, "hydra.run.dir=run").code == 0
    for word in (f"model.token={SECRET}", f"model.token={SECRET} x"):
        answer = mlrun("resume", "run", word)
        assert answer.code == 2
        assert "model.token" in answer.err
        assert shown_in(answer) == []


@pytest.mark.parametrize(
    "words",
    [
        ("hydra.run.dir=run/${hydra.job.override_dirname}",),
        ("hydra.run.dir=run", "hydra.output_subdir=hydra"),
        ("hydra.run.dir=run", "hydra.verbose=true"),
    ],
    ids=["folder", "files", "verbose"],
)
@pytest.mark.slow
def test_hydra_writes_no_secret(mlrun, words):
    answer = mlrun(*OWN, f"+model.login={{token:{SECRET}}}", *words)
    assert answer.code == 0
    assert shown_in(answer, ".") == []


# --- sweeps ---


@pytest.mark.parametrize(
    "words",
    [
        ("seed=0,1",),
        ("seed=0,1", "hydra.sweep.subdir=${hydra.job.override_dirname}"),
        ("seed=0,1", "hydra/sweeper=basic"),
        pytest.param(
            ("seed=0,1", "hydra/sweeper=basic", "hydra/launcher=basic"), marks=pytest.mark.slow
        ),
        pytest.param(("seed=0,1", "+model.fails=building"), marks=pytest.mark.slow),
        ("seed=0,1", "+model.fails=training"),
        (f"+model.api_key={SECRET},{SECRET}2",),
        (*SEARCH, RATES),
        pytest.param(("seed=0,1", "hydra/launcher=joblib"), marks=pytest.mark.slow),
        pytest.param(("seed=0,1", "--dry-run"), id="dry-run"),
        pytest.param(
            ("seed=0,1", "hydra/launcher=joblib", "+model.fails=training"), marks=pytest.mark.slow
        ),
    ],
)
@pytest.mark.slow
def test_a_sweep_with_a_secret_records_none(mlrun, words):
    secret = (f"+model.token={SECRET}", f"+model.login={{passwords:['x y',{SECRET}]}}")
    answer = mlrun("-m", *OWN, *secret, *words, "hydra.sweep.dir=sweep")
    assert shown_in(answer, ".") == []
    assert "KeyError" not in answer.err


@pytest.mark.slow
def test_a_sweep_and_a_search_with_a_secret_refuse_to_be_resumed(mlrun):
    for words in (("seed=0,1",), (*SEARCH, RATES)):
        folder = f"sweep{len(words)}"
        secret = (f"+model.token={SECRET}", f"hydra.sweep.dir={folder}")
        assert mlrun("-m", *OWN, *secret, *words).code == 0
        assert_refused(mlrun("resume", folder, "allow=[secretnets.*]"), "model.token was a secret")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*SEARCH, f"+model.token={SECRET},x"), "a search records each value"),
        ((*SEARCH, f"+model.login={{token:{SECRET}}},{{token:x}}", RATES), "model.login: a search"),
        (("hydra.launcher.per_device=2", f"+model.token={SECRET}"), "leave out hydra.launcher.per"),
        (
            ("sweep.halving=2", "optimizer.lr=0.1,0.2", f"+model.token={SECRET}"),
            "leave out sweep.halving",
        ),
        (
            ("hydra/launcher=submitit_local", f"+model.token={SECRET}"),
            "take it from the environment: model.token='${oc.env:NAME}'",
        ),
        (("hydra/launcher=submitit_local", "model=own"), "model.token is a secret"),
    ],
)
@pytest.mark.slow
def test_a_sweep_that_would_have_to_store_a_secret_is_refused(mlrun, write_csv, words, message):
    write_csv("conf/model/own.yaml", f"_target_: secretnets.Own\ntoken: {SECRET}\n")
    own = OWN[1:4] if "model=own" in words else OWN
    answer = mlrun("-m", *own, "seed=0,1,2", "trainer.epochs=8", *words, "hydra.sweep.dir=sweep")
    assert_refused(answer, message)
    assert shown_in(answer) == []
    assert not Path("sweep").exists()


@pytest.mark.sample  # other processes train
@pytest.mark.slow
def test_submitit_stores_the_reference_to_a_secret(monkeypatch):
    monkeypatch.setenv("SOME_NAME", SECRET)
    words = ("+model.token=${oc.env:SOME_NAME}", "hydra/launcher=submitit_local", "seed=0,1")
    # Hydra stores what this process has of earlier tests, too.
    command = [sys.executable, "-m", "mlrun", "-m", *OWN, *words, "hydra.sweep.dir=sweep"]
    done = subprocess.run(command, capture_output=True, text=True)
    answer = Answer(done.returncode, done.stdout, done.stderr)
    assert answer.code == 0, answer.err
    assert list(Path("sweep/.submitit").rglob("*.pkl"))
    assert shown_in(answer, "sweep") == []


# --- a property ---

NAMES = st.sampled_from(["token", "api_key", "password", "credentials", "auth", "mySecrets"])
BESIDE = st.sampled_from(["x", 1, None, True])
QUOTES = ("{}", " {}", "a'{}", 'a"{}', "a, b: {}", "[{}", "123{}", "true{}", "é\\{}")


@st.composite
def nested_secrets(draw):
    value: Any = draw(st.sampled_from(QUOTES)).format(SECRET)
    for _ in range(draw(st.integers(0, 2))):
        beside = draw(st.lists(BESIDE, max_size=2))
        value = draw(st.sampled_from([[*beside, value], {"b": beside, "a": value}]))
    value = {draw(NAMES): value}
    for _ in range(draw(st.integers(0, 2))):
        value = draw(st.sampled_from([[1, value], {"c": value, "d": None}]))
    return f"+model.x={spelled(value)}"


def check_nowhere(mlrun: Any, word: str, kind: str, number: int) -> None:
    folder = f"made{number}"
    sweep = ("-m", "seed=0,1", f"hydra.sweep.dir={folder}")
    words = sweep if kind == "sweep" else (f"hydra.run.dir={folder}",)
    fails = "+model.fails=training" if kind == "failure" else "+model.fails="
    answer = mlrun(*words, *OWN, word, fails)
    assert answer.code == (1 if kind == "failure" else 0), answer.err
    assert shown_in(answer, folder) == []


def try_secrets(mlrun: Any, examples: int, kinds: Sequence[str]) -> None:
    count = iter(range(10**6))

    @settings(
        max_examples=examples,
        derandomize=examples < 10,
        database=None,
        deadline=None,
        suppress_health_check=EVERY_HEALTH_CHECK,
    )
    @given(nested_secrets(), st.sampled_from(kinds))
    def check(word: str, kind: str) -> None:
        check_nowhere(mlrun, word, kind, next(count))

    check()


@pytest.mark.slow
def test_no_nesting_lands_in_a_folder(mlrun):
    try_secrets(mlrun, 3, ("run", "failure"))


@pytest.mark.slow
def test_no_nesting_lands_in_many_folders(mlrun):
    try_secrets(mlrun, 100, ("run", "sweep", "failure"))
