"""A stranger's conf/ folder runs nothing: neither an option that is selected, nor one that is not.

What is typed on the command line is the user's own, and may do more.
"""

import logging
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlrun import MlrunError, sweep, train
from tests import faults
from tests.test_safety import assert_refused, slow

SMALL = ("debug=smoke", "quiet=true")
CALL = "{_target_: pandas.read_pickle, filepath_or_buffer: data.pkl}"
MADE = """'${oc.create:"{_target_: pandas.read_pickle, filepath_or_buffer: data.pkl}"}'"""
FACTORY = "{(): pandas.read_pickle, filepath_or_buffer: data.pkl}"


class Payload:
    def __reduce__(self) -> Any:
        return os.system, ("touch PWNED",)


@pytest.fixture(autouse=True)
def _bait(workdir: Path) -> Iterator[None]:
    """An attack that unpickles creates PWNED; one that imports a module imports `this`."""
    (workdir / "data.pkl").write_bytes(pickle.dumps(Payload()))
    sys.modules.pop("this", None)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before  # --info logs to standard output
    assert not [*workdir.glob("**/PWNED*")]
    assert "this" not in sys.modules


@pytest.fixture
def hostile(write_csv: Any) -> Any:
    """`hostile(text)`: an option of conf/hparams, the group that is merged last."""

    def write(text: str) -> str:
        write_csv("conf/hparams/hw.yaml", f"# @package _global_\n{text}\n")
        return "hparams=hw"

    return write


def handler(text: str, node: str = "job_logging") -> str:
    log = f"{{version: 1, handlers: {{c: {text}}}, root: {{handlers: [c]}}}}"
    return f"hydra: {{help: {{app_name: ext}}, {node}: {log}}}"


def formatter(text: str) -> str:
    handlers = "handlers: {c: {class: logging.StreamHandler, formatter: f}}"
    log = f"{{version: 1, formatters: {{f: {text}}}, {handlers}, root: {{handlers: [c]}}}}"
    return f"hydra: {{job_logging: {log}}}"


CALLBACKS = [
    (f"hydra: {{callbacks: {{y: {CALL}}}}}", "callbacks.y._target_=pandas.read_pickle: refused"),
    (f"hydra: {{callbacks: {{y: {MADE}}}}}", "hydra.callbacks.y="),
    (f"hydra: {{env: {{x: {MADE}}}, callbacks: {{y: '${{hydra.env.x}}'}}}}", "hydra."),
    (
        f"hydra: {{help: {{app_name: create}}, callbacks: {{y: "
        f"{MADE.replace('create', '${hydra.help.app_name}')}}}}}",
        "hydra.callbacks.y=",
    ),
    (
        f"model: {CALL}\nhydra: {{callbacks: {{y: '${{model}}'}}}}",
        "hydra.callbacks.y._target_=pandas.read_pickle: refused",
    ),
    (
        f"metric: {{y: {CALL}}}\nhydra: {{callbacks: '${{metric}}'}}",
        "hydra.callbacks.y._target_=pandas.read_pickle: refused",
    ),
    (f"model: {CALL}\nhydra: {{callbacks: {{y: '\\${{model}}'}}}}", "hydra.callbacks.y"),
    (
        "defaults:\n  - /model@hydra.callbacks.y: mlp",
        "hydra.callbacks.y._target_=mlrun.models.mlp.MLP: refused",
    ),
    ("hydra: {env: {x: 1}}", "hydra.env.x: refused"),
]
LOGGERS = [
    (handler(FACTORY), "hydra.job_logging.handlers.c.()=pandas.read_pickle: refused"),
    (
        f"metric: {FACTORY}\n{handler(chr(39) + '${metric}' + chr(39))}",
        "hydra.job_logging.handlers.c.()=pandas.read_pickle: refused",
    ),
    (
        handler("{class: logging.StreamHandler, stream: '${hydra.help.app_name}://this.s'}"),
        "stream=ext://this.s: refused; must be ext://sys.stdout or ext://sys.stderr",
    ),
    (
        handler(
            "{class: logging.StreamHandler, stream: '${hydra.help.app_name}://this.s'}",
            "hydra_logging",
        ),
        "hydra.hydra_logging.handlers.c.stream=ext://this.s: refused",
    ),
    (
        handler("{class: logging.StreamHandler, level: '${hydra.help.app_name}://this.s'}"),
        "hydra.job_logging.handlers.c.level=ext://this.s: refused; must be a name",
    ),
    (
        handler("{class: logging.StreamHandler, filters: [x]}"),
        "hydra.job_logging.handlers.c.filters",
    ),
    (handler("{class: logging.StreamHandler, .: {terminator: x}}"), "handlers.c...terminator"),
    *(
        (handler(f"{{class: logging.{name}, {settings}}}"), f"class=logging.{name}: refused; must")
        for name, settings in (
            ("FileHandler", "filename: PWNED"),
            ("handlers.SocketHandler", "host: localhost, port: 9"),
            ("handlers.HTTPHandler", "host: localhost, url: /"),
            ("handlers.SMTPHandler", "mailhost: localhost, fromaddr: a, toaddrs: b, subject: c"),
        )
    ),
    (
        handler("{class: '${data.id}.FileHandler', filename: PWNED}") + "\ndata: {id: logging}",
        "hydra.job_logging.handlers.c.class=logging.FileHandler: refused",
    ),
    (formatter(FACTORY), "formatters.f.()=pandas.read_pickle: refused; must be colorlog"),
    (formatter("{format: 'ext://this.s'}"), "formatters.f.format=ext://this.s: refused"),
    (formatter("{style: '{', format: '{msg.__class__}'}"), "formatters.f.style={: refused"),
    (
        "defaults:\n  - override /hydra/job_logging: default",
        "class=logging.FileHandler: refused",
    ),
]
SLURM = "defaults:\n  - override /hydra/launcher: submitit_slurm\nhydra: {launcher: "
JOBLIB = "defaults:\n  - override /hydra/launcher: joblib\nhydra: {launcher: "
PLUGINS = [
    ("data: {id: os.system}\nhydra: {launcher: {_target_: '${data.id}'}}", "launcher._target_=os"),
    (f"{SLURM}{{setup: [touch PWNED]}}}}", "hydra.launcher.setup.0=touch PWNED: refused; only the"),
    (f"{SLURM}{{additional_parameters: {{wrap: x}}}}}}", "additional_parameters.wrap=x: refused"),
    (f'{SLURM}{{comment: "x\\ntouch PWNED"}}}}', "comment=x\\ntouch PWNED: refused; must be one"),
    (f"{SLURM}{{submitit_folder: PWNED}}}}", "hydra.launcher.submitit_folder=PWNED: refused"),
    (f"{JOBLIB}{{temp_folder: PWNED}}}}", "hydra.launcher.temp_folder=PWNED: refused; only the"),
    (f"{JOBLIB}{{pre_dispatch: 'f(1)'}}}}", "hydra.launcher.pre_dispatch=f(1): refused"),
    (f"{JOBLIB}{{backend: dask}}}}", "hydra.launcher.backend=dask: refused; must be null or loky"),
    (
        f"hydra: {{sweeper: {{params: {{+hydra.callbacks.x: '{CALL}'}}}}}}",
        "hydra.sweeper.params.+hydra.callbacks.x: refused",
    ),
    (
        "hydra: {sweeper: {params: {+model@hydra.callbacks.x: mlp}}}",
        "hydra.sweeper.params.+model@hydra.callbacks.x: refused",
    ),
    ("hydra: {sweeper: {params: {data.id: '${oc.env:HOME}'}}}", "hydra.sweeper.params.data.id="),
    (
        f"hydra: {{overrides: {{hydra: ['+hydra.callbacks.x={CALL}']}}}}",
        "hydra.overrides: refused; it is the command line",
    ),
    ("hydra: {overrides: {task: ['model=linear']}}", "hydra.overrides: refused"),
]
FILES = [
    ("hydra: {job: {env_set: {PATH: .}}}", "env_set.PATH: refused; set variables in the shell"),
    ("hydra: {job: {env_copy: [HOME]}}", "hydra.job.env_"),
    ("hydra: {job: {chdir: true}, run: {dir: x}}", "hydra.job.chdir=True: refused"),
    ("hydra: {job: {name: ../../x}}", "hydra.job.name=../../x: refused; must be a name"),
    ("hydra: {output_subdir: ../PWNED}", "hydra.output_subdir=../PWNED: refused; only the command"),
    ("hydra: {run: {dir: 'PWNED_${oc.env:HOME}'}}", "hydra.run.dir=PWNED_${oc.env:HOME}: refused"),
    ("hydra: {sweep: {dir: 'x_${oc.select:data.id}'}}", "hydra.sweep.dir=x_${oc.select:data.id}"),
]


def refused_in(*lists: list[tuple[str, str]]) -> pytest.MarkDecorator:
    """The first six of each list in the fast suite, all of them in `make soak`."""
    cases = [
        pytest.param(*case, marks=() if number < 6 else pytest.mark.slow)
        for cases in lists
        for number, case in enumerate(cases)
    ]
    return pytest.mark.parametrize(("text", "message"), cases)


@faults.hostile_conf
@refused_in(CALLBACKS, LOGGERS, PLUGINS, FILES)
@pytest.mark.slow
def test_an_option_that_would_run_or_write_something_is_refused(mlrun, hostile, text, message):
    assert_refused(mlrun("-m", hostile(text), *SMALL, "seed=1,2"), message)


@faults.hostile_conf
@refused_in([CALLBACKS[4]])
@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-m", "--dry-run"),
        ("-m", "hydra/sweeper=basic", "hydra/launcher=joblib"),
        ("--cfg", "job"),
        ("--cfg", "hydra", "--resolve"),
        ("--info", "all"),
        ("hydra.mode=MULTIRUN",),
    ],
    ids=" ".join,
)
def test_it_is_refused_however_it_is_selected(mlrun, hostile, words, text, message):
    assert_refused(mlrun(*words, hostile(text), *SMALL), message)


@faults.hostile_conf
@pytest.mark.parametrize("function", [train, sweep])
def test_it_is_refused_from_python_too(hostile, function):
    text, message = CALLBACKS[4]
    with pytest.raises(MlrunError, match=re.escape(message)):
        function(hostile(text), *SMALL)


@faults.hostile_conf
@pytest.mark.parametrize("subdir", ["../PWNED${hydra.job.num}", "/tmp/PWNED${hydra.job.num}"])
@pytest.mark.slow
def test_jobs_stay_in_the_folder_of_their_sweep(mlrun, hostile, subdir):
    option = hostile(f"hydra: {{sweep: {{dir: s, subdir: '{subdir}'}}}}")
    answer = mlrun("-m", option, *SMALL, "seed=1,2")
    assert_refused(answer, "must be a folder inside the sweep")


# --- options that nobody selects ---


@faults.hostile_conf
@pytest.mark.parametrize("folder", ["conf", "other"])
@pytest.mark.parametrize(
    "name", ["hydra/launcher/mlrun", *map(slow, ("schema", "hydra/config", "hydra/sweeper/mlrun"))]
)
@pytest.mark.slow
def test_a_file_with_the_name_of_a_built_in_option_has_no_effect(mlrun, write_csv, name, folder):
    before = mlrun("--cfg", "all").out
    write_csv(f"{folder}/{name}.yaml", "_target_: os.system\nparams: {seed: 1,2}\nverbose: true\n")
    extra = ("--config-dir", "other") if folder == "other" else ()
    after = mlrun("--cfg", "all", *extra)
    assert after.code == 0, after.err
    assert without_sources(after.out) == without_sources(before)


def without_sources(text: str) -> str:
    before, _, rest = text.partition("config_sources:")
    return before + rest.partition("output_dir:")[2]


@faults.hostile_conf
@pytest.mark.slow
def test_no_file_outside_the_folder_is_read(mlrun, hostile, write_csv):
    secret = write_csv("secret.yaml", "password: x\n")
    option = hostile("defaults:\n  - /../secret@data.split")
    assert_refused(mlrun(option, *SMALL), "../secret.yaml: refused; it is outside")
    Path("conf/model").mkdir()
    Path("conf/model/linked.yaml").symlink_to(secret)
    assert_refused(mlrun("model=linked"), "model/linked.yaml: refused; it is outside")


# --- completion: bash expands what it offers ---


@faults.hostile_conf
@pytest.mark.slow
def test_completion_offers_nothing_that_a_shell_would_run(mlrun, write_csv, monkeypatch):
    write_csv("conf/model/$(touch${IFS}PWNED).yaml", "hidden: [1]\n")
    write_csv("conf/model/`touch PWNED`.yaml", "hidden: [1]\n")
    write_csv("conf/model/mine.yaml", "hidden: [1]\n")
    text = "# @package _global_\ndata: {id: \"$(touch$IFS''PWNED)\"}\n"
    write_csv("conf/experiment/hw.yaml", text)
    monkeypatch.setenv("COMP_LINE", "mlrun model=")
    for shell, between in (("bash", " "), ("zsh", " "), ("fish", "\n")):
        offered = mlrun("-sc", f"query={shell}").out.rstrip("\n").split(between)
        assert offered == ["model=cnn", "model=linear", "model=mine", "model=mlp"]
    monkeypatch.setenv("COMP_LINE", "mlrun experiment=hw data.id=")
    assert mlrun("-sc", "query=bash").out == ""
    monkeypatch.setenv("COMP_LINE", "mlrun opt")
    assert mlrun("-sc", "query=bash").out == "optimizer. optimizer=\n"


@faults.hostile_conf
@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_runs_nothing_when_it_completes(mlrun, write_csv, monkeypatch):
    write_csv("conf/model/$(touch${IFS}PWNED).yaml", "hidden: [1]\n")
    monkeypatch.setenv("COMP_LINE", "mlrun model=")
    offered = mlrun("-sc", "query=bash").out
    script = ["bash", "-c", 'compgen -W "$1" -- model=', "bash", offered]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["model=cnn", "model=linear", "model=mlp"]


def test_names_of_options_send_nothing_to_the_terminal(mlrun, write_csv):
    write_csv("conf/model/\x1b[31mred.yaml", "hidden: [1]\n")
    assert "\\x1b[31mred" in mlrun("ls", "model").out
    assert "\x1b" not in mlrun("ls", "model").out


# --- YAML ---


def grown(first: str, entry: str, levels: int) -> str:
    """Each line repeats the one before it nine times."""
    lines = [f"a0: &a0 {first}"]
    for n in range(1, levels):
        lines.append(f"a{n}: &a{n} " + entry.format(",".join([f"*a{n - 1}"] * 9)))
    return "\n".join(lines)


@faults.hostile_conf
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (grown("[1]", "[{}]", 9), "it describes more than 100000 values"),
        (grown("{k: 1}", "{{<<: [{}]}}", 9), "it describes more than 100000 values"),
        ("x: " + "[" * 100_000, "its values are nested more than 50 times"),
        ("x: &a [*a]", "*a refers to itself"),
    ],
    ids=["lists", "merged", "nested", "circle"],
)
def test_a_file_that_would_fill_the_memory_is_refused(mlrun, hostile, text, problem):
    assert_refused(mlrun(hostile(text), *SMALL), f"conf/hparams/hw.yaml: refused; {problem}")


def test_repetitions_in_a_file_are_allowed(mlrun, hostile):
    option = hostile("trainer: &a {epochs: 3}\noptimizer: {lr: &b 0.5, weight_decay: *b}")
    answer = mlrun("--cfg", "job", option)
    assert "lr: 0.5\n" in answer.out
    assert "weight_decay: 0.5\n" in answer.out


# --- addresses ---


@faults.hostile_conf
@pytest.mark.parametrize("words", [(), ("-m", "seed=1,2"), ("folds=2",)], ids=str)
@pytest.mark.parametrize(
    "text",
    [
        slow("data: {train: 'http://127.0.0.1:9/?${oc.env:SOME_TEXT}'}"),
        "paths: {data: 'http://127.0.0.1:9/?${oc.env:SOME_TEXT}'}\ndata: {train: '${paths.data}'}",
        slow("data: {train: 'HTTP://127.0.0.1:9/?${oc.env:MY_TOKEN}'}"),
    ],
)
@pytest.mark.slow
def test_no_text_from_the_environment_is_sent_anywhere(mlrun, hostile, monkeypatch, text, words):
    asked: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, place: asked.append(place))
    monkeypatch.setenv("SOME_TEXT", "text")
    monkeypatch.setenv("MY_TOKEN", "hunter2-hunter2")
    answer = mlrun(*words, hostile(text), "task=csv", "data.target=x", *SMALL)
    assert_refused(answer, "data.train: refused; an address must not contain texts from the")
    assert asked == []


# --- modules in the current folder ---

MODULES = ("torch", "yaml", "numpy", "hydra", "omegaconf", "joblib", "sitecustomize", "signal")


@pytest.fixture
def decoys(write_csv: Any) -> None:
    """Modules in the current folder that nobody should import."""
    for name in (*MODULES, "hydra_plugins/evil/__init__"):
        write_csv(f"{name}.py", f"open('PWNED_{Path(name).name}', 'w').close()\n")


START = "from mlrun.cli.main import entry_point\nif __name__ == '__main__':\n    entry_point()\n"


def started(command: list[str], *words: str) -> None:
    done = subprocess.run([*command, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def script(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The `mlrun` command: Python puts the folder of the script first, not the current one."""
    file = tmp_path_factory.mktemp("bin") / "mlrun"
    file.write_text(START)
    return [sys.executable, str(file)]


@faults.hostile_conf
@pytest.mark.usefixtures("decoys")
@pytest.mark.slow
def test_python_m_mlrun_imports_nothing_from_the_current_folder():
    Path("signal.py").unlink()  # Python itself imports such names before mlrun starts
    started([sys.executable, "-m", "mlrun"], "--cfg", "job")


@faults.hostile_conf
@pytest.mark.usefixtures("decoys")
@pytest.mark.slow
def test_the_command_imports_nothing_from_the_current_folder(script):
    started(script, "--cfg", "job")


@faults.hostile_conf
@pytest.mark.slow
@pytest.mark.usefixtures("decoys")
@pytest.mark.parametrize(
    "launcher",
    ["hydra/launcher=joblib", "hydra.launcher.per_device=2", "hydra/launcher=submitit_local"],
)
def test_workers_import_nothing_from_the_current_folder(script, launcher):
    started(script, "-m", "seed=1,2", *SMALL, launcher)


NETS = """
from torch import nn


class Wide(nn.Sequential):
    def __init__(self, in_shape, out_features):
        super().__init__(nn.Linear(in_shape[0], out_features))
"""


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["mlrun", "joblib"])
def test_allowed_classes_are_imported_from_the_current_folder(script, write_csv, launcher):
    write_csv("nets.py", NETS)
    write_csv("conf/model/wide.yaml", "_target_: nets.Wide\n")
    words = ("-m", "seed=1,2", "model=wide", *SMALL, "allow=[nets.Wide]")
    started(script, *words, f"hydra/launcher={launcher}")
    started([sys.executable, "-m", "mlrun"], *words[2:])


# --- what files and the command line may set ---


def test_a_file_may_choose_launcher_sweeper_folders_and_loggers(mlrun, hostile, write_csv):
    write_csv("conf/hydra/launcher/mine.yaml", "defaults: [joblib]\nn_jobs: 3\nbackend: loky\n")
    option = hostile(
        "defaults:\n  - override /hydra/launcher: mine\n  - override /hydra/sweeper: optuna\n"
        "  - override /hydra/job_logging: stdout\n"
        "hydra:\n  verbose: [mlrun]\n  sweep: {dir: 'my_${now:%Y}', subdir: '${hydra.job.num}'}\n"
        "  sweeper: {n_trials: 5, seed: '${seed}', params: {optimizer.lr: 'interval(0,1)'}}\n"
        "  launcher: {n_jobs: '${seeds}'}\n"
    )
    answer = mlrun("--cfg", "hydra", option, "seed=7", "seeds=2")
    assert answer.code == 0, answer.err
    for line in ("n_jobs: 2", "backend: loky", "n_trials: 5", "dir: my_${now:%Y}"):
        assert f" {line}\n" in answer.out
    assert " seed: 7\n" in answer.out  # the value that was checked is the one that Hydra gets


@pytest.mark.parametrize(
    "words",
    [
        ("hydra/launcher=submitit_slurm", "hydra.launcher.setup=[module load cuda]"),
        (
            "hydra/launcher=submitit_slurm",
            "+hydra.launcher.additional_parameters={mail-type: BEGIN, deeper: {x: 1}}",
        ),
        ("hydra/launcher=joblib", "hydra.launcher.temp_folder=/tmp"),
        ("hydra.searchpath=[file:///tmp]",),
        ("hydra.output_subdir=.hydra",),
        ("hydra.run.dir=/tmp/x_${oc.env:HOME}",),
        ("hydra.verbose=true",),
        ("hydra/job_logging=stdout",),
    ],
    ids=str,
)
@pytest.mark.slow
def test_the_command_line_may_set_more_than_a_file(mlrun, words):
    answer = mlrun("--cfg", "hydra", *words)
    assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    "word",
    [
        "hydra.launcher._args_=[1]",
        "+hydra.launcher.x={_target_: os.system}",
        "hydra.launcher={per_device: 1, _target_: os.system}",
        "hydra.job.chdir=true",
    ],
)
def test_the_command_line_does_not_make_hydra_call_anything(mlrun, word):
    word = word if word.startswith("+") else f"++{word}"
    assert_refused(mlrun("--cfg", "hydra", word), "refused")


@pytest.mark.slow
def test_hydras_own_help_is_shown(mlrun):
    answer = mlrun("--hydra-help")
    assert answer.code == 0, answer.err
    assert "hydra/launcher: basic" in answer.out
