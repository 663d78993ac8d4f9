"""A stranger's run folder is as safe to open as a text file; secrets stay where they are."""

import contextlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mlrun.cli.main import main
from mlrun.errors import MlrunError
from mlrun.runs.checkpoint import load_state, save_state
from mlrun.system import no_links
from mlrun.system.files import read_text, write_atomically
from tests import faults
from tests.forged import entry, forged
from tests.test_allowlist import ATTACKS
from tests.test_cli import FLOWERS, SMOKE, failing_open

COMMANDS = {
    "evaluate": ("evaluate", "run"),
    "evaluate a file": ("evaluate", "run", "--input", "new.csv"),
    "predict": ("predict", "run", "--output", "out.csv"),
    "predict a file": ("predict", "run", "--input", "new.csv", "--output", "out.csv"),
    "show": ("show", "run"),
    "export": ("export", "run", "--format", "safetensors", "--output", "out.csv"),
    "resume": ("resume", "run", "trainer.epochs=3"),
    "rerun": ("rerun", "run"),
}
CHECKPOINTS = ("best", "last", "previous")
FAST = ("predict", "resume")  # the others: make soak
every_command = pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=() if name in FAST else pytest.mark.slow, id=name)
        for name, command in COMMANDS.items()
    ],
)


def slow(value: str) -> pytest.ParameterSet:
    return pytest.param(value, marks=pytest.mark.slow)


def against_every_command(attacks: Any) -> pytest.MarkDecorator:
    """Each attack against one command in the fast suite, against all of them in `make soak`."""
    pairs = []
    for number, attack in enumerate(attacks):
        for place, (name, command) in enumerate(COMMANDS.items()):
            marks = () if (number + place) % len(COMMANDS) == 0 else pytest.mark.slow
            label = f"{getattr(attack, '__name__', attack)}-{name}"
            pairs.append(pytest.param(attack, command, marks=marks, id=label))
    return pytest.mark.parametrize(("attack", "command"), pairs)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small run that all tests here copy."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "my.csv").write_text(FLOWERS)
    arguments = (
        "task=csv",
        f"data.train={folder}/my.csv",
        "data.target=kind",
        *SMOKE,
        "scheduler=constant",
    )
    assert main([*arguments, f"hydra.run.dir={folder}/run", "checkpoint.every_seconds=0"]) == 0
    return folder / "run"


@pytest.fixture
def run(predictor: Path, workdir: Path) -> Path:
    shutil.copytree(predictor, workdir / "run")
    (workdir / "new.csv").write_text("petal,color,kind\n1,red,rose\n")
    return workdir / "run"


def poison(run: Path, change: Callable[[Any], None]) -> None:
    """Change the configuration wherever a run folder has one."""
    record = json.loads((run / "run.json").read_text())
    change(record["config"])
    (run / "run.json").write_text(json.dumps(record))
    for text in (run / "config.yaml", run / ".hydra" / "config.yaml"):
        text.write_text(json.dumps(record["config"]))  # JSON is YAML
    for name in CHECKPOINTS:
        alter(run / "checkpoints" / f"{name}.safetensors", lambda state: change(state["config"]))


def alter(path: Path, change: Callable[[Any], None]) -> None:
    if path.exists():
        state = load_state(path)
        change(state)
        save_state(path, state)


def assert_refused(answer: Any, *words: str) -> None:
    assert answer.code == 2, answer
    assert answer.err.count("\n") == 1, answer.err
    assert all(word in answer.err for word in words), answer.err
    assert not Path("PWNED").exists()
    assert not Path("out.csv").exists()


# --- classes and functions that a configuration names ---


def node_at(path: str, target: str) -> Callable[[Any], None]:
    def change(config: Any) -> None:
        node = config
        for key in path.split("."):
            node = node[int(key) if key.isdigit() else key]
        attack = {"_target_": target, "command": "touch PWNED"}
        if isinstance(node, list):
            node.append([attack])
        else:
            node.update(attack)

    return change


@faults.foreign_target
@against_every_command(ATTACKS)
@pytest.mark.slow
def test_a_target_in_a_foreign_configuration_is_refused(mlrun, run, command, attack):
    poison(run, node_at("model", attack))
    assert_refused(mlrun(*command), "refused")


@faults.foreign_target
@against_every_command(["model.hidden", "trainer", "data.split", "loss.classification"])
def test_a_target_hidden_deeper_is_refused_too(mlrun, run, command, attack):
    poison(run, node_at(attack, "os.system"))
    assert_refused(mlrun(*command))


@faults.foreign_target
@against_every_command(["mlrun.data.tabular.MlrunError"])
def test_a_class_that_reads_no_data_is_refused(mlrun, run, command, attack):
    poison(run, lambda config: config.update(data={"_target_": attack}))
    assert_refused(mlrun(*command), "data._target_=mlrun.data.tabular.MlrunError: refused")


@faults.foreign_hydra
@every_command
def test_hydra_settings_of_a_foreign_folder_are_ignored(mlrun, run, command):
    def change(config: Any) -> None:
        attack = {"_target_": "os.system", "command": "touch PWNED"}
        config["hydra"] = {"callbacks": {"x": attack}, "job_logging": {"x": {"()": "os.system"}}}

    poison(run, change)
    assert mlrun(*command).code == 0
    assert not Path("PWNED").exists()


@faults.own_target
@pytest.mark.parametrize("target", [*ATTACKS[:2], *map(slow, ATTACKS[2:])])
@pytest.mark.slow
def test_a_target_on_the_command_line_is_refused(mlrun, target):
    answer = mlrun("quiet=true", f"model._target_='{target}'", "+model._args_=['touch PWNED']")
    assert_refused(answer)


@faults.own_target
@pytest.mark.parametrize(
    "override",
    [
        "+hydra.callbacks.x={_target_:os.system,command:PWNED}",
        "hydra.launcher._target_=os.system",
        slow("hydra.sweeper._target_=hydra.utils.get_method"),
        slow("+hydra.sweeper.custom_search_space=os.system"),
        "+hydra.job_logging.handlers.x={class:logging.os.system}",
        slow("+hydra.job_logging.handlers.x={class:logging.FileHandler,filename:PWNED}"),
        slow("+hydra.callbacks.x=${data.split}"),
        "+hydra.job.env_set.PATH=.",
        slow("+hydra.job.env_set.GIT_CONFIG_COUNT=1"),
        slow("+hydra.job_logging.formatters.x={'()':os.system}"),
        slow(
            "+hydra.hydra_logging.handlers.x={class:logging.StreamHandler,stream:'ext://os.environ'}"
        ),
        "+trainer._target_=os.system",
        "--experimental-rerun=job.pickle",
    ],
)
@pytest.mark.slow
def test_what_hydra_would_build_by_itself_is_refused(mlrun, override):
    assert_refused(mlrun("quiet=true", override))


@pytest.mark.slow
def test_a_file_in_conf_cannot_name_what_is_not_allowed(mlrun, write_csv):
    write_csv("conf/model/evil.yaml", "_target_: os.system\ncommand: touch PWNED\n")
    assert_refused(mlrun("quiet=true", "model=evil"), "model._target_=os.system: refused")
    write_csv("conf/hydra/callbacks/evil.yaml", "x: {_target_: os.system, command: touch PWNED}\n")
    assert_refused(mlrun("quiet=true", "hydra/callbacks=evil"), "refused")


@faults.yaml_tags
@every_command
def test_yaml_tags_build_nothing(mlrun, run, command, write_csv):
    attack = '!!python/object/apply:os.system ["touch PWNED"]\n'
    for file in (run / "config.yaml", run / ".hydra" / "config.yaml"):
        file.write_text(attack)  # written for people, never read
    assert mlrun(*command).code == 0
    Path("out.csv").unlink(missing_ok=True)
    write_csv("conf/model/evil.yaml", f"_target_: {attack}")
    assert_refused(mlrun("quiet=true", "model=evil"), "evil.yaml is not well-formed YAML")


# --- the user's own classes ---

NETS = """
from torch import nn

class Wide(nn.Sequential):
    def __init__(self, in_shape, out_features, *, width, token="none", password=""):
        super().__init__(nn.Linear(in_shape[0], width), nn.Linear(width, out_features))

class NotAModel:
    pass
"""


@pytest.fixture
def nets(write_csv: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    write_csv("nets.py", NETS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("nets", None)


MLP_SETTINGS = ("hidden", "activation", "dropout", "norm", "init")
OWN = (
    *("model._target_=nets.Wide", "+model.width=3"),
    *(f"~model.{name}" for name in MLP_SETTINGS),
)


@pytest.mark.usefixtures("nets")
@pytest.mark.slow
def test_own_classes_need_allow_on_the_command_line_of_every_command(mlrun):
    refused = mlrun(*OWN, *SMOKE)
    assert_refused(
        refused, "model._target_=nets.Wide: refused", "for your own class: allow=[nets.Wide]"
    )
    assert "nets" not in sys.modules
    run = str(mlrun(*OWN, *SMOKE, "allow=[nets.*]").run)
    for verb in ("evaluate", "predict", "rerun"):
        assert_refused(mlrun(verb, run), "for your own class: allow=[nets.Wide]")
        assert mlrun(verb, run, "allow=nets.Wide").code == 0
    assert "allow=[nets.*]" in json.loads(Path(run, "run.json").read_text())["command"]


@pytest.mark.usefixtures("nets")
@pytest.mark.parametrize(
    ("target", "allow", "message"),
    [
        ("nets.NotAModel", "nets.*", "there is no such class for this group"),
        pytest.param("nets.Other", "nets.*", "there is no such class", marks=pytest.mark.slow),
        ("nots.Wide", "nots.*", "allow: cannot import nots"),
        ("nets.Wide", "*", "allow=[*]: must be my_module.MyClass or my_module.*"),
        pytest.param("os.system", "os.*", "refused", marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_allow_covers_classes_of_the_groups_kind_only(mlrun, target, allow, message):
    answer = mlrun("quiet=true", f"model._target_={target}", f"allow=[{allow}]")
    assert_refused(answer, message)


def test_a_configuration_cannot_allow_anything(mlrun, write_csv, run):
    assert_refused(
        mlrun("quiet=true", "+allow=[os.*]"), "Allow your own classes on the command line"
    )
    poison(run, lambda config: config.update(allow=["os.*"]))
    assert_refused(
        mlrun("predict", "run", "--output", "out.csv"), "Allow your own classes on the command line"
    )


# --- interpolations ---


@faults.foreign_lookup
@against_every_command(
    ["${oc.env:MY_TOKEN}", "${seed}", "${oc.create:1}", "${new_folder:x,y}", "${"]
)
def test_a_recorded_value_looks_nothing_up(mlrun, run, command, attack, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "hunter2-hunter2")
    poison(run, lambda config: config["data"].update(prediction=attack))
    answer = mlrun(*command)
    assert_refused(answer, "data.prediction", "must not contain references")
    assert "hunter2" not in answer.out + answer.err


# --- checkpoints ---


class Payload:
    def __reduce__(self):
        return os.system, ("touch PWNED",)


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(Payload()))


def with_a_class(path: Path) -> None:
    torch.save({"format": 2, "weights": Payload()}, path)


def with_a_module(path: Path) -> None:
    torch.save({"format": 2, "weights": torch.nn.Linear(1, 1)}, path)


def inflating(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(50_000_000))


def naming_a_function(path: Path) -> None:
    path.write_bytes(forged('{"weights":{"$object":["os.system",["touch PWNED"]]}}'))


def claiming_terabytes(path: Path) -> None:
    """Of weights that are not in the file, for a model that would have them."""
    state = load_state(path)
    state["config"]["model"]["hidden"] = [10**6, 10**6]
    values = json.dumps({"config": state["config"], "weights": {"1.weight": {"$tensor": None}}})
    claim = entry("weights/1.weight", "F32", [10**6, 10**6], 0, 4 * 10**12)
    path.write_bytes(forged(values, claim, bytes(1000)))


def overlapping(path: Path) -> None:
    """The header lists the same stored megabyte a hundred times."""
    names = [f"weights/{number}" for number in range(100)]
    claims = ",".join(entry(name, "U8", [10**6], 0, 10**6) for name in names)
    values = {"weights": {str(number): {"$tensor": None} for number in range(100)}}
    path.write_bytes(forged(json.dumps(values), claims, bytes(10**6)))


def nested(path: Path) -> None:
    path.write_bytes(forged('{"contract":' + '{"columns":[' * 10**5))


def with_a_long_header(path: Path) -> None:
    path.write_bytes(forged("{}", length=2**62))


def with_more_parts(path: Path) -> None:
    alter(path, lambda state: state.update(more=[0]))


def with_many_layers(path: Path) -> None:
    alter(path, lambda state: state["config"]["model"].update(hidden=[1] * 10**4))


@faults.hostile_checkpoint
@against_every_command(
    [
        *(pickled, with_a_class, with_a_module, inflating, naming_a_function),
        *(claiming_terabytes, overlapping, nested, with_a_long_header),
        *(with_more_parts, with_many_layers),
    ]
)
def test_a_hostile_checkpoint_is_refused(mlrun, run, command, attack):
    (run / "checkpoints" / "previous.safetensors").unlink(missing_ok=True)
    for name in ("best", "last"):
        attack(run / "checkpoints" / f"{name}.safetensors")
    answer = mlrun(*command)
    assert not Path("PWNED").exists()
    if command[0] == "rerun":  # needs no checkpoint
        assert answer.code == 0
    else:
        assert_refused(answer, "run/checkpoints")


@faults.hostile_checkpoint
def test_a_checkpoint_with_a_million_examples_is_refused(mlrun, run):
    many = torch.ones(1, 2, dtype=torch.float64).expand(10**6, 2)
    alter(run / "checkpoints/best.safetensors", lambda state: state.update(examples=many))
    assert_refused(mlrun("predict", "run", "--output", "out.csv"), "1 to 16 examples")


# --- files ---


@faults.links
@against_every_command(["run.log", "pred.csv", "checkpoints", "plots", ".lock", "x.csv"])
def test_links_in_a_run_folder_are_refused(mlrun, run, command, attack):
    outside, name = Path("outside"), attack
    if (run / name).is_dir():
        shutil.move(run / name, outside)
    else:
        outside.write_text("precious")
        (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside.resolve())
    before = [path.stat().st_mtime_ns for path in [outside, *outside.rglob("*")]]
    assert_refused(mlrun(*command), f"run/{name}: refused", "must not contain links")
    assert [path.stat().st_mtime_ns for path in [outside, *outside.rglob("*")]] == before


def test_a_log_that_is_also_somebody_elses_file_is_refused(mlrun, run):
    Path("outside").write_text("precious")
    (run / "run.log").unlink()
    (run / "run.log").hardlink_to("outside")
    assert_refused(mlrun("resume", "run", "trainer.epochs=3"), "run/run.log: refused")
    assert Path("outside").read_text() == "precious"


@faults.links
@pytest.mark.parametrize("name", ["run.json", "checkpoints/best.safetensors", "metrics.csv", "x"])
def test_a_file_with_a_second_name_is_refused(mlrun, run, name):
    (run / name).touch()
    Path("outside").hardlink_to(run / name)
    answer = mlrun("predict", "run", "--output", "out.csv")
    assert_refused(answer, f"run/{name}: refused", "must not contain links", "cp -r makes a copy")
    shutil.copytree("run", "copy")
    assert mlrun("predict", "copy", "--output", "out.csv").code == 0


at_an_open: list[Callable[[], None]] = []  # to do before the next file or folder is opened


@pytest.fixture(scope="module")
def interfering() -> None:
    def before_open(event: str, _: Any) -> None:
        if event == "open" and at_an_open:
            at_an_open.pop()()

    sys.addaudithook(before_open)  # it cannot be taken away again


def link_in_place_of(path: Path, target: Path) -> None:
    path.rename(path.with_name("aside"))
    path.symlink_to(target.resolve())


@faults.swapped
@pytest.mark.usefixtures("interfering")
@pytest.mark.parametrize("place", ["folder", "folder/file"])
@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("action", ["read", "write", "append"])
def test_what_becomes_a_link_while_it_is_opened_is_not_followed(workdir, place, number, action):
    box, outside = Path("box"), Path("outside")
    for folder in (box / "folder", outside):
        folder.mkdir(parents=True)
        (folder / "file").write_text(folder.name)
    no_links.distrust(box)
    target = outside if place == "folder" else outside / "file"
    at_an_open.append(lambda: link_in_place_of(box / place, target))
    at_an_open.extend([lambda: None] * (number - 1))
    with contextlib.suppress(MlrunError):
        if action == "read":
            assert read_text(box / "folder/file") == "folder"
        elif action == "write":
            write_atomically(box / "folder/file", b"new", durable=False)
        else:
            with no_links.opened(box / "folder/file", "ab") as file:
                file.write(b"new")
    at_an_open.clear()
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "outside"


def test_the_programs_of_a_repository_are_not_run_for_its_commit(mlrun, run):
    subprocess.run(["git", "init", "--quiet", "run"], check=True)
    author = ("-c", "user.name=x", "-c", "user.email=x@x.example")
    commit = ("commit", "--quiet", "--allow-empty", "--message=x")
    subprocess.run(["git", "-C", "run", *author, *commit], check=True)
    attack = ("config", "core.fsmonitor", f"touch {Path('PWNED').resolve()}; false")
    subprocess.run(["git", "-C", "run", *attack], check=True)
    os.chdir("run")
    assert mlrun("rerun", ".", "--output", "../again").code == 0
    os.chdir("..")
    assert not Path("PWNED").exists()
    assert json.loads(Path("again/run.json").read_text())["git"]["dirty"] is True


def test_what_a_stranger_wrote_moves_no_cursor(mlrun, run, write_csv):
    record = json.loads((run / "run.json").read_text())
    record.update(command="\x1b[2J", ended="now\nstatus done")
    (run / "run.json").write_text(json.dumps(record))
    answer = mlrun("show", "run")
    assert "\\x1b[2J" in answer.out
    assert "\x1b" not in answer.out
    assert "now\\nstatus done" in answer.out
    write_csv("new.csv", "petal,color,\x1b[31m\n1,red,2\n")
    answer = mlrun("predict", "run", "--input", "new.csv", "--output", "out.csv")
    assert "'\\x1b[31m'" in answer.err


def test_texts_are_written_as_they_are_and_guarded_on_request(mlrun, write_csv):
    write_csv("my.csv", FLOWERS.replace("kind", "=SUM(A1)").replace("iris", "-bQ1"))
    run = mlrun("task=csv", "data.train=my.csv", *SMOKE).run
    header, *rows = (run / "pred.csv").read_text().splitlines()
    assert header == "id,=SUM(A1)"
    assert {row.split(",")[1] for row in rows} <= {"-bQ1", "rose"}
    assert mlrun("predict", str(run), "--guard-formulas", "--output", "p.csv").code == 0
    header, *rows = Path("p.csv").read_text().splitlines()
    assert header == "id,'=SUM(A1)"
    assert {row.split(",")[1] for row in rows} <= {"'-bQ1", "rose"}


def test_a_link_in_the_way_of_a_temporary_file_is_not_followed(mlrun, run, monkeypatch):
    Path("outside").write_text("precious")
    monkeypatch.setattr(os, "urandom", bytes)  # otherwise nobody can know the name
    Path(".out.csv.00000000.mlrun.tmp").symlink_to("outside")
    answer = mlrun("predict", "run", "--output", "out.csv")
    assert answer.err == "error: cannot write out.csv: File exists; see --output\n"
    assert Path("outside").read_text() == "precious"


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes in folders")
def test_a_named_pipe_in_a_run_folder_is_refused_and_not_waited_for(mlrun, run):
    Path("runs/x").mkdir(parents=True)
    os.mkfifo("runs/x/run.json")
    assert mlrun("resume", "runs").code == 2
    os.mkfifo(run / "x")
    assert_refused(mlrun("predict", "run", "--output", "out.csv"), "run/x: refused")


opened: list[str] = []


@pytest.fixture(scope="module")
def watching() -> Iterator[None]:
    """Note every file that is opened while a test asks for it."""
    active = [True]

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if active[0] and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(note)
    yield
    active[0] = False  # a hook cannot be taken away again


@pytest.mark.usefixtures("watching")
@faults.foreign_paths
@pytest.mark.parametrize("command", ["evaluate", "predict", "resume", "rerun"])
@pytest.mark.parametrize("how", ["absolute", pytest.param("relative", marks=pytest.mark.slow)])
def test_a_recorded_path_leads_nowhere_else(
    mlrun, run, command, how, tmp_path_factory, monkeypatch
):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.csv"
    secret.write_text("petal,color,kind\n1,red,rose\n2,blue,tulip\n")
    record = json.loads((run / "run.json").read_text())
    path = str(secret) if how == "absolute" else os.path.relpath(secret)
    record["data"][0].update(path=path)
    (run / "run.json").write_text(json.dumps(record))
    opened.clear()
    assert_refused(mlrun(*COMMANDS[command]), "secret.csv")
    assert not [path for path in opened if "secret" in path]


# --- secrets ---

SECRET = "hunter2-hunter2-hunter2"


def files_with(secret: str, folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path) for path in files if secret.encode() in path.read_bytes()]


@faults.secrets
@pytest.mark.usefixtures("nets")
def test_no_secret_lands_in_the_run_folder(mlrun, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", SECRET)
    answer = mlrun(
        *(*OWN, *SMOKE, "allow=[nets.*]", f"+model.token={SECRET}", "hydra.run.dir=run"),
        "+model.password=${oc.env:MY_API_KEY}",
    )
    assert answer.code == 0
    assert files_with(SECRET, Path("run")) == []
    assert "(not recorded)" in Path("run/config.yaml").read_text()
    assert "model.token=(not recorded)" in Path("run/run.json").read_text()


def test_no_secret_is_printed_with_the_configuration(mlrun, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", SECRET)
    words = (f"+model.token={SECRET[:9]}", "+model.max_tokens=5", "data.id=${oc.env:MY_API_KEY}")
    for resolve in ((), ("--resolve",)):
        answer = mlrun("--cfg", "job", *resolve, *words)
        assert "token: (not recorded)" in answer.out
        assert "max_tokens: 5" in answer.out
        assert SECRET[:9] not in answer.out


def test_a_secret_in_an_error_is_kept_out_of_the_log(mlrun, monkeypatch):
    monkeypatch.setenv("MY_PASSWORD", SECRET)

    failing_open(monkeypatch, RuntimeError(f"cannot log in with {SECRET}"))
    assert mlrun(*SMOKE, "hydra.run.dir=run").code == 1
    assert files_with(SECRET, Path("run")) == []
    assert "cannot log in with (not recorded)" in Path("run/run.log").read_text()


@pytest.mark.parametrize(
    "override",
    ["model.activation=${oc.env:WORD}", "task=x${oc.env:WORD}", "paths.outputs=${oc.env:A_TOKEN}"],
)
def test_a_text_from_the_environment_that_would_be_written_down_is_refused(
    mlrun, monkeypatch, override
):
    monkeypatch.setenv("WORD", "tanh")
    monkeypatch.setenv("A_TOKEN", "tanh")
    override = f"+{override}" if override.startswith("task") else override
    assert_refused(mlrun(*SMOKE, override))
    assert not Path("outputs").exists()


@pytest.mark.usefixtures("nets")
@pytest.mark.slow
def test_a_run_with_a_secret_reports_that_it_cannot_be_opened_without(mlrun):
    allow = "allow=[nets.*]"
    answer = mlrun(*OWN, SMOKE[0], allow, "+model.token=abc", "hydra.run.dir=run")
    assert "model.token is a secret or comes from the environment" in answer.out
    assert_refused(mlrun("evaluate", "run", allow), "model.token was a secret or came from")


@pytest.mark.slow
def test_numbers_from_the_environment_are_recorded(mlrun, monkeypatch, write_csv):
    monkeypatch.setenv("RATE", "0.25")
    rate = "${oc.decode:${oc.env:RATE}}"
    write_csv("conf/optimizer/env.yaml", f"defaults: [adamw, _self_]\nlr: {rate}\n")
    mlrun(*SMOKE, "optimizer=env", "hydra.run.dir=run")
    assert json.loads(Path("run/run.json").read_text())["config"]["optimizer"]["lr"] == 0.25
    assert mlrun("evaluate", "run").code == 0
