"""A stranger's sweep folder: to show and to resume it runs nothing and touches nothing outside."""

import csv
import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from mlrun.cli.main import main
from tests import faults
from tests.test_allowlist import ATTACKS
from tests.test_cli import FLOWERS, SMOKE
from tests.test_safety import Payload, assert_refused, slow

GRID = ("-m", "task=csv", "data.target=kind", "seed=0,1", "scheduler=constant", *SMOKE)
SEARCH = (
    *("-m", "task=csv", "data.target=kind", "hydra/sweeper=optuna", "hydra.sweeper.sampler=cmaes"),
    *("hydra.sweeper.n_trials=4", "hydra.sweeper.n_jobs=2", "model=linear", *SMOKE),
    *("optimizer.lr=tag(log,interval(1e-4,1e-1))", "trainer.l1=interval(0,1e-3)"),
)
SWEEP = {"show": ("show", "sweep"), "resume": ("resume", "sweep")}
JOB = {
    "evaluate": ("evaluate", "sweep/1"),
    "predict": ("predict", "sweep/1", "--output", "out.csv"),
    "export": ("export", "sweep/1", "--format", "safetensors", "--output", "out.csv"),
    "resume job": ("resume", "sweep/1", "trainer.epochs=3"),
    "rerun": ("rerun", "sweep/1"),
}
on_a_sweep = pytest.mark.parametrize("verb", SWEEP)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished sweeps, and the table that they were trained on."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "my.csv").write_text(FLOWERS)
    table = f"data.train={folder}/my.csv"
    assert main([*GRID, table, f"hydra.sweep.dir={folder}/grid"]) == 0
    assert main([*SEARCH, table, f"hydra.sweep.dir={folder}/search"]) == 0
    return folder


@pytest.fixture
def sweep(made: Path, workdir: Path) -> Path:
    """A copy whose last job waits."""
    return waiting(shutil.copytree(made / "grid", workdir / "sweep"), 1)


@pytest.fixture
def search(made: Path, workdir: Path) -> Path:
    """A copy that has only half of its trials."""
    folder = waiting(shutil.copytree(made / "search", workdir / "sweep"), 2)
    change_journal(folder, lambda event: event if event["job"] < 2 else None)
    return folder


def waiting(folder: Path, job: int) -> Path:
    """Undo this job and the later ones."""
    change_journal(folder, lambda e: e if e["job"] < job or e["status"] == "queued" else None)
    change_record(folder, status="running")
    while (folder / str(job)).exists():
        shutil.rmtree(folder / str(job))
        job += 1
    return folder


def change_journal(folder: Path, change: Callable[[Any], Any]) -> None:
    journal = folder / "journal.jsonl"
    events = [change(json.loads(line)) for line in journal.read_text().splitlines()]
    journal.write_text("".join(json.dumps(event) + "\n" for event in events if event))


def change_job(sweep: Path, /, **values: Any) -> None:
    """Change values of the waiting job."""
    change_journal(sweep, lambda event: event | (values if event["job"] == 1 else {}))


def change_config(folder: Path, change: Callable[[Any], None]) -> None:
    """Change the configuration of the waiting job."""

    def changed(event: Any) -> Any:
        if event["job"] == 1 and "config" in event:
            change(event["config"])
        return event

    change_journal(folder, changed)


def change_record(sweep: Path, /, **values: Any) -> None:
    file = sweep / "sweep.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def content(folder: Path) -> dict[str, bytes | str]:
    """All files below a folder, but for locks."""
    return {
        str(path): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or (path.is_file() and not path.name.endswith(".lock"))
    }


opened: list[str] = []


@pytest.fixture(scope="module")
def watching() -> Iterator[None]:
    """Note every file that is opened."""
    active = [True]

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if active[0] and event == "open":
            opened.append(str(arguments[0]))

    sys.addaudithook(note)
    yield
    active[0] = False  # a hook cannot be taken away again


# --- what is no attack ---


def test_an_honest_sweep_is_shown_and_resumed(mlrun, sweep, made):
    (sweep / ".submitit").mkdir()  # of a launcher, which leaves links there
    (sweep / ".submitit" / "link").symlink_to("/etc")
    assert "status       killed: 1 done, 1 queued" in mlrun("show", "sweep").out
    assert mlrun("resume", "sweep").code == 0
    summary = Path("sweep/summary.csv").read_bytes()
    assert summary == (made / "grid" / "summary.csv").read_bytes()
    assert mlrun("predict", "sweep/1", "--output", "out.csv").code == 0


def test_a_search_goes_on_from_its_journal_to_the_same_points(mlrun, search, made):
    assert mlrun("resume", "sweep").code == 0
    summary = Path("sweep/summary.csv").read_bytes()
    assert summary == (made / "search" / "summary.csv").read_bytes()
    assert not Path("sweep/optuna.journal").exists()


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["cmaes", "tpe", "random", "grid"])
@pytest.mark.parametrize("done", [3, 6, 9, 12])
def test_a_search_that_stopped_between_batches_ends_as_it_would_have(mlrun, whole, sampler, done):
    words = (
        "hydra.sweeper.n_trials=14",
        "hydra.sweeper.n_jobs=3",
        f"hydra.sweeper.sampler={sampler}",
    )
    space = ("optimizer.lr=tag(log,interval(1e-4,1e-1))", "trainer.l1=interval(0,1e-3)")
    if sampler == "grid":
        space = ("optimizer.lr=1e-4,1e-3,1e-2,1e-1", "trainer.l1=0,1e-5,1e-4,1e-3")
    search = ("-m", "hydra/sweeper=optuna", "model=linear", *words, *space, *SMOKE)
    unbroken = whole(mlrun, *search)
    waiting(shutil.copytree(unbroken, Path("sweep")), done)
    change_journal(Path("sweep"), lambda event: event if event["job"] < done else None)
    assert mlrun("resume", "sweep").code == 0
    assert Path("sweep/summary.csv").read_bytes() == (unbroken / "summary.csv").read_bytes()


def test_a_batch_that_was_not_written_down_whole_is_proposed_again(mlrun, search, made):
    lines = (made / "search" / "journal.jsonl").read_text().splitlines(keepends=True)
    [queued] = [line for line in lines if '"job": 2, "status": "queued"' in line]
    with Path("sweep/journal.jsonl").open("a") as file:
        file.write(queued)
    assert mlrun("resume", "sweep").code == 0
    summary = Path("sweep/summary.csv").read_bytes()
    assert summary == (made / "search" / "summary.csv").read_bytes()


# --- pickles ---


@faults.foreign_sweep
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_state_of_a_sampler_is_not_unpickled(mlrun, search):
    journal = Path("sweep/optuna.journal")
    journal.unlink(missing_ok=True)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    study = optuna.create_study(storage=storage, study_name="sweep")
    low, high = 1e-4, 1e-1
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "optimizer.lr": optuna.distributions.FloatDistribution(low, high, log=True),
        "trainer.l1": optuna.distributions.FloatDistribution(0, 1e-3),
    }
    for _ in range(2):
        trial = study.ask(space)
        attack = pickle.dumps(Payload()).hex()
        storage.set_trial_system_attr(trial._trial_id, "cma:optimizer:0", attack)
        study.tell(trial, 1.0)
    assert mlrun("resume", "sweep").code == 0
    assert not Path("PWNED").exists()
    assert len(Path("sweep/summary.csv").read_text().splitlines()) == 5


# --- folders of jobs ---

FOLDERS = (
    *("../victim", "{here}/victim", "..", ".", "./1", "0/../../victim", "a//b", "a/", "/", ".lock"),
    *(".hidden", "a/.b", "journal.jsonl", "sweep.json", "Summary.csv", "a\nb", "a\0b", "\x1b[2J"),
    *("\ud800", "x" * 300, "/".join("x" * 200 for _ in range(20)), " ", "0", "0/checkpoints"),
)


@faults.foreign_sweep
@on_a_sweep
@pytest.mark.parametrize("folder", FOLDERS, ids=ascii)
def test_a_job_has_a_folder_of_its_own_inside_the_sweep(mlrun, sweep, verb, folder):
    victim = Path("victim")
    victim.mkdir()
    for name in ("config.yaml", "metrics.csv", "pred.csv", "split.json"):
        (victim / name).write_text("mine")
    change_job(sweep, folder=folder.format(here=Path.cwd()))
    before = content(Path())
    if folder == " ":  # an odd name, but a plain one
        assert mlrun(*SWEEP[verb]).code == 0
        return
    answer = mlrun(*SWEEP[verb])
    assert_refused(answer, "sweep/journal.jsonl: ")
    assert "must be a folder inside the sweep" in answer.err or "several jobs" in answer.err
    assert content(Path()) == before


@pytest.mark.parametrize(
    ("subdir", "message"),
    [
        ("../x${{hydra.job.num}}", "must be a folder inside the sweep"),
        ("{here}/x${{hydra.job.num}}", "must be a folder inside the sweep"),
        ("x/${{hydra.job.num}}", ""),
    ],
)
@pytest.mark.slow
def test_the_start_of_a_sweep_follows_the_same_rule(mlrun, subdir, message):
    word = f"hydra.sweep.subdir={subdir.format(here=Path.cwd())}"
    answer = mlrun("-m", "seed=0,1", "model=linear", *SMOKE, word, "hydra.sweep.dir=sweep")
    if not message:
        assert answer.code == 0
        assert Path("sweep/x/1/run.json").exists()
        assert mlrun("resume", "sweep").code == 0
        return
    assert_refused(answer, "hydra.sweep.subdir: folder", message)
    assert not Path("sweep").exists()


# --- links, pipes, devices ---

OF_THE_SWEEP = (
    *("journal.jsonl", "sweep.json", "summary.csv", "sweep.log", "optuna.journal"),
    *(".lock", ".journal.lock", ".sweep.lock", "0", "0/run.log", "1", "table.csv"),
)


def put_away(path: Path) -> Path:
    """Move a file or folder of the sweep outside, or make one there."""
    outside = Path("outside")
    if path.exists():
        shutil.move(path, outside)
    elif path.name == "1":
        outside.mkdir()
    else:
        outside.write_text("precious")
    return outside


@faults.foreign_sweep
@on_a_sweep
@pytest.mark.parametrize("name", OF_THE_SWEEP)
def test_links_in_a_sweep_are_refused(mlrun, sweep, verb, name):
    outside = put_away(sweep / name)
    (sweep / name).symlink_to(outside.resolve())
    before = content(Path())
    assert_refused(mlrun(*SWEEP[verb]), f"sweep/{name}: refused", "must not contain links")
    assert content(Path()) == before


@faults.foreign_sweep
@on_a_sweep
@pytest.mark.parametrize(
    "name", ["journal.jsonl", "sweep.log", ".lock", ".sweep.lock", "sweep.json", "0/run.log"]
)
def test_files_of_a_sweep_have_no_second_name(mlrun, sweep, verb, name):
    outside = put_away(sweep / name)
    (sweep / name).hardlink_to(outside)
    before = content(Path())
    assert_refused(mlrun(*SWEEP[verb]), f"sweep/{name}: refused")
    assert content(Path()) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes in folders")
@faults.foreign_sweep
@on_a_sweep
@pytest.mark.parametrize("name", OF_THE_SWEEP)
def test_a_pipe_in_a_sweep_is_refused_and_not_waited_for(mlrun, sweep, verb, name):
    if (sweep / name).exists():
        put_away(sweep / name)
    os.mkfifo(sweep / name)
    answer = mlrun(*SWEEP[verb])
    assert (answer.code, answer.err.count("\n")) == (2, 1), answer
    assert "sweep" in answer.err


@faults.foreign_sweep
@pytest.mark.parametrize("verb", JOB)
def test_a_job_that_is_a_link_is_refused(mlrun, made, verb):
    shutil.copytree(made / "grid", "sweep")
    shutil.copytree(made / "grid" / "1", "precious")
    shutil.rmtree("sweep/1")
    Path("sweep/1").symlink_to(Path("precious").resolve())
    before = content(Path("precious"))
    assert_refused(mlrun(*JOB[verb]), "sweep/1: refused", "must not contain links")
    assert content(Path("precious")) == before


def test_a_link_of_the_users_own_leads_to_a_run(mlrun, made):
    shutil.copytree(made / "grid", "sweep")
    Path("latest").symlink_to("sweep/1")
    assert mlrun("evaluate", "latest").code == 0


@faults.foreign_sweep
def test_the_newest_run_of_a_folder_is_not_behind_a_link(mlrun, made):
    shutil.copytree(made / "grid" / "1", "precious")
    record = json.loads(Path("precious/run.json").read_text()) | {"status": "interrupted"}
    Path("precious/run.json").write_text(json.dumps(record))
    Path("runs/a").mkdir(parents=True)
    Path("runs/a/b").symlink_to(Path("precious").resolve())
    before = content(Path("precious"))
    assert mlrun("resume", "runs").code == 2
    assert content(Path("precious")) == before


# --- odd values ---

VALUES: dict[str, tuple[Any, ...]] = {
    "job": (-1, 1.0, "1", None, True, [1], 10**30),
    "status": (None, 1, [], {}, "odd"),
    "overrides": (None, "x", {}, [1], [None], 7),
    "config": ([], "x", 1, {}, {"seed": 1}),
    "places": ([], "x", {"paths.data": 1}, {"paths.data": None}),
    "folder": (None, 1, [], {}),
    "score": ("1", True, [], float("nan"), float("inf"), 10**400),
    "best_epoch": (-1, 1.5, "1", True, 10**30),
    "epochs": (-1, 1.5, "1", True, 10**30),
    "objectives": ([], {"valid/mse": "1"}, {"valid/mse": float("nan")}),
    "error": (None, 1, []),
}
CASES = [(name, value) for name, values in VALUES.items() for value in values]
EVERY = 7  # this one also in the fast suite


@faults.foreign_sweep
@on_a_sweep
@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param(*case, marks=pytest.mark.slow if n % EVERY else (), id=f"{case}"[:40])
        for n, case in enumerate(CASES)
    ],
)
def test_odd_values_in_the_journal_are_damage(mlrun, sweep, verb, name, value):
    change_job(sweep, **{name: value})
    before = content(Path())
    assert_refused(mlrun(*SWEEP[verb]), "sweep/journal.jsonl is damaged")
    assert content(Path()) == before


@faults.foreign_sweep
@on_a_sweep
@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{}",
        "null",
        "1",
        '{"job": 1',
        "[" * 100_000,
        '{"job": ' + "1" * 5000 + "}",
        "\xff",
    ],
    ids=lambda line: line[:9],
)
def test_odd_lines_in_the_journal_are_damage(mlrun, sweep, verb, line):
    with (sweep / "journal.jsonl").open("ab") as file:
        file.write(line.encode("latin-1") + b"\n")
    before = content(Path())
    assert_refused(mlrun(*SWEEP[verb]), "sweep/journal.jsonl is damaged in line ")
    assert content(Path()) == before


@faults.foreign_sweep
def test_a_journal_without_jobs_is_no_sweep(mlrun, sweep):
    (sweep / "journal.jsonl").write_text("")
    assert_refused(mlrun("resume", "sweep"), "sweep/journal.jsonl has no jobs")
    (sweep / "journal.jsonl").unlink()
    for words in SWEEP.values():
        assert_refused(mlrun(*words), "sweep/journal.jsonl cannot be read")


RECORDS: dict[str, tuple[Any, ...]] = {
    "swept": (None, "x", [1], {}),
    "per_device": (0, -1, "2", True, 1.5),
    "folder": (None, 1, []),
    "data": (None, [], "x", 1),
    "format": (None, 2, "1", []),
}
RECORD_CASES = [{name: value} for name, values in RECORDS.items() for value in values]


@faults.foreign_sweep
@on_a_sweep
@pytest.mark.parametrize("values", RECORD_CASES, ids=str)
def test_odd_values_in_the_record_are_damage(mlrun, sweep, verb, values):
    change_record(sweep, **values)
    before = content(Path())
    assert_refused(mlrun(*SWEEP[verb]), "sweep/sweep.json")
    assert content(Path()) == before


@faults.foreign_sweep
@on_a_sweep
def test_a_record_that_is_nested_too_deeply_is_damage(mlrun, sweep, verb):
    nested = "[" * 600 + "]" * 600
    text = (sweep / "sweep.json").read_text().rstrip().removesuffix("}")
    (sweep / "sweep.json").write_text(f'{text}, "x": {nested}}}')
    assert_refused(mlrun(*SWEEP[verb]), "sweep/sweep.json is damaged")


@faults.foreign_sweep
@pytest.mark.parametrize(
    "entry",
    [
        1,
        {},
        {"sample": 1, "files": []},
        {"sample": False, "files": [1]},
        {"sample": False, "files": [{"role": "train", "path": 1, "sha256": "", "bytes": 1}]},
    ],
    ids=str,
)
def test_odd_data_files_in_the_record_are_damage(mlrun, sweep, entry):
    [name] = json.loads((sweep / "sweep.json").read_text())["data"]
    change_record(sweep, data={name: entry})
    assert_refused(mlrun("resume", "sweep"), "sweep/sweep.json is damaged")


@faults.foreign_sweep
@pytest.mark.parametrize("name", ["1", "1/run.log", "1/config.yaml", "summary.csv", "sweep.log"])
def test_a_file_where_a_folder_belongs_or_the_other_way_round_is_reported(mlrun, sweep, name):
    path = sweep / name
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.touch() if name == "1" else path.mkdir()
    answer = mlrun("resume", "sweep")
    assert (answer.code, answer.err.count("\n")) == (2, 1), answer
    assert "cannot write" in answer.err


@faults.foreign_sweep
@on_a_sweep
def test_what_a_stranger_wrote_moves_no_cursor(mlrun, sweep, verb):
    def evil(event: Any) -> Any:
        if "config" in event:
            event["config"]["trainer"]["monitor"] = "valid/\x1b[2J"
            event["config"]["task"] = "\x1b[2J"
            event["overrides"] = ["seed=\x1b[2J\n"]
        return event | {"objectives": {"\x1b[2J": 1.0}, "error": "\x1b[2J"}

    change_journal(sweep, evil)
    change_record(sweep, command="\x1b[2J", status="\x1b[2J\n")
    answer = mlrun(*SWEEP[verb])
    assert "\x1b" not in answer.out + answer.err
    assert verb == "resume" or "\\x1b[2J" in answer.out


@faults.foreign_sweep
def test_what_a_stranger_wrote_is_no_formula_in_the_summary(mlrun, sweep):
    def evil(event: Any) -> Any:
        words = [*event.get("overrides", ()), "=a==1+1", "b=@SUM(1)"]
        return event | {"overrides": words, "objectives": {"+c": 1.0}}

    change_journal(sweep, evil)
    change_record(sweep, swept=["=a", "b"])
    answer = mlrun(*SWEEP["resume"])
    assert answer.code == 0, answer
    with (sweep / "summary.csv").open(newline="") as file:
        cells = {cell for row in csv.reader(file) for cell in row}
    assert {"'=a", "'@SUM(1)", "'+c"} <= cells
    assert not {cell for cell in cells if cell.startswith(("=", "+", "@"))}


@faults.foreign_sweep
def test_texts_that_are_no_unicode_are_kept(mlrun, sweep):
    change_record(sweep, command="\udcff")
    change_journal(
        sweep, lambda event: event | {"overrides": [*event.get("overrides", ()), "\ud800"]}
    )
    assert mlrun("resume", "sweep").code == 0
    assert "command      \\udcff" in mlrun("show", "sweep").out


# --- configurations ---


def target(name: str) -> Callable[[Any], None]:
    return lambda config: config["model"].update(_target_=name, command="touch PWNED")


@faults.foreign_sweep
@pytest.mark.parametrize("attack", [*ATTACKS[:2], *map(slow, ATTACKS[2:])])
def test_a_target_in_a_foreign_journal_is_refused(mlrun, sweep, attack):
    change_config(sweep, target(attack))
    before = content(Path())
    assert_refused(mlrun("resume", "sweep"), "sweep/journal.jsonl: job 1: model", "refused")
    assert content(Path()) == before


CONFIGS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "allow": (lambda c: c.update(allow=["os.*"]), "Allow your own classes on the command line"),
    "lookup": (lambda c: c["data"].update(id="${oc.env:HOME}"), "must not contain references"),
    "folder": (lambda c: c["data"].update(id="${new_folder:x,y}"), "must not contain references"),
    "launcher": (lambda c: c.update(launcher={"_target_": "os.system"}), "unknown key 'launcher'"),
    "type": (lambda c: c.update(trainer=[]), "has no valid config"),
    "missing": (lambda c: c.pop("optimizer"), "optimizer is not set"),
    "range": (lambda c: c["trainer"].update(epochs=-1), "trainer.epochs=-1: must be at least 1"),
    "deep": (lambda c: c["trainer"].update(_target_="os.system"), "_target_"),
}


@faults.foreign_sweep
@pytest.mark.parametrize("case", CONFIGS)
def test_odd_settings_in_a_foreign_journal_are_refused(mlrun, sweep, case):
    change, message = CONFIGS[case]
    change_config(sweep, change)
    before = content(Path())
    assert_refused(mlrun("resume", "sweep"), "sweep/journal.jsonl", message)
    assert content(Path()) == before
    assert not Path("x").exists()


@faults.foreign_sweep
def test_hydra_settings_in_a_foreign_journal_are_ignored(mlrun, sweep):
    attack = {"_target_": "os.system", "command": "touch PWNED"}
    change_config(sweep, lambda config: config.update(hydra={"callbacks": {"x": attack}}))
    change_record(sweep, launcher={"_target_": "os.system"}, allow=["os.*"], hydra=attack)
    assert mlrun("resume", "sweep").code == 0
    assert not Path("PWNED").exists()


@faults.foreign_sweep
@pytest.mark.parametrize(
    "places",
    [
        {"model._target_": "os.system"},
        {"paths.data": "/etc", "data.train.0.0": "/etc/passwd"},
        {"paths.outputs": "${new_folder:x,y}"},
        {"": "x", "data.dir..": "x", "paths.": "x", "data.dir[": "x"},
    ],
    ids=str,
)
def test_places_change_nothing_but_paths(mlrun, sweep, places):
    change_job(sweep, places=places)
    assert mlrun("resume", "sweep").code == 0
    assert not Path("PWNED").exists()
    assert not Path("x").exists()


@faults.foreign_sweep
@pytest.mark.parametrize("key", ["data.train", "data.target"])
def test_a_place_with_a_lookup_is_refused(mlrun, sweep, key):
    change_job(sweep, places={key: "${oc.env:HOME}/.bashrc"})
    assert_refused(mlrun("resume", "sweep"), "came from the environment and is not recorded")


# --- data files ---


@pytest.fixture
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("elsewhere") / "secret.csv"
    file.write_text(FLOWERS + "9.9,blue,iris\n")
    return file


def names(path: Path | str) -> Callable[[Path], None]:
    """Let the waiting job name this file, and hide that the sweep recorded others."""

    def plant(folder: Path) -> None:
        change_config(folder, lambda config: config["data"].update(train=str(path), dir="."))
        change_record(folder, data={})

    return plant


def of_a_folder(path: Path) -> Callable[[Path], None]:
    def plant(folder: Path) -> None:
        change_config(folder, lambda config: config["data"].update(dir=str(path.parent)))
        change_config(folder, lambda config: config["data"].update(train=path.name))
        change_record(folder, data={}, folder=str(path.parent))
        change_job(folder, places={"paths.data": "${oc.env:X}", "data.dir": "${paths.data}"})

    return plant


def recorded(path: Path, **facts: Any) -> Callable[[Path], None]:
    """Let sweep.json name this file, with another content."""

    def plant(folder: Path) -> None:
        known = json.loads((folder / "sweep.json").read_text())["data"]
        for entry in known.values():
            entry["files"][0].update(path=str(path), **facts)
        change_record(folder, data=known)

    return plant


PLANTS: dict[str, Callable[[Path], Callable[[Path], None]]] = {
    "absolute": names,
    "relative": lambda secret: names(os.path.relpath(secret)),
    "from the data folder": lambda secret: names(f"data/../{os.path.relpath(secret)}"),
    "of a folder": of_a_folder,
    "recorded": recorded,
}


@faults.foreign_sweep
@pytest.mark.usefixtures("watching")
@pytest.mark.parametrize("how", PLANTS)
def test_a_foreign_job_reads_no_file_elsewhere(mlrun, sweep, secret, how):
    PLANTS[how](secret)(sweep)
    Path("data").mkdir()
    opened.clear()
    answer = mlrun("resume", "sweep")
    assert answer.code in (1, 2)
    assert "secret.csv" in answer.err
    assert not [path for path in opened if "secret" in path]


@faults.foreign_sweep
@pytest.mark.parametrize("name", ["https://example.com/t.csv", "-"])
def test_a_foreign_job_asks_no_address_and_no_standard_input(mlrun, sweep, name, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    names(name)(sweep)
    before = content(Path())
    assert_refused(mlrun("resume", "sweep"), f"{name} is not in data", "use --data FOLDER")
    assert content(Path()) == before


@faults.foreign_sweep
def test_a_foreign_ensemble_reads_no_file_elsewhere(mlrun, sweep, secret):
    names(secret)(sweep)
    change_config(sweep, lambda config: config.update(seeds=2))
    assert_refused(mlrun("resume", "sweep"), "secret.csv is not in data")


@pytest.mark.slow
@faults.foreign_sweep
def test_a_foreign_job_in_another_process_reads_no_file_elsewhere(mlrun, sweep, secret):
    recorded(secret)(sweep)
    change_record(sweep, per_device=10**9)
    answer = mlrun("resume", "sweep")
    assert (answer.code, "the data has changed since the start" in answer.err) == (1, True)


@faults.foreign_sweep
@pytest.mark.parametrize("folder", ["elsewhere", "MLRUN_DATA", "data", "."])
def test_recorded_files_are_found_again_after_a_move(mlrun, sweep, made, folder, monkeypatch):
    known = json.loads((sweep / "sweep.json").read_text())["data"]
    for entry in known.values():
        entry["files"][0]["path"] = "/nowhere/my.csv"
    change_record(sweep, data=known)
    Path(folder).mkdir(exist_ok=True)
    shutil.copy(made / "my.csv", folder)
    if folder == "MLRUN_DATA":
        monkeypatch.setenv("MLRUN_DATA", "MLRUN_DATA")
    answer = mlrun("resume", "sweep")
    if folder == "elsewhere":
        assert answer.code == 1
        assert "the data file /nowhere/my.csv is missing; use --data FOLDER" in answer.err
        assert mlrun("resume", "sweep", "--failed", "--data", folder).code == 0
    else:
        assert answer.code == 0
    assert Path("sweep/summary.csv").read_bytes() == (made / "grid/summary.csv").read_bytes()


def test_files_that_were_not_recorded_are_read_from_the_users_folder(mlrun, sweep, made):
    change_config(sweep, lambda config: config["data"].update(train="my.csv", dir="own"))
    change_record(sweep, data={})
    Path("own").mkdir()
    shutil.copy(made / "my.csv", "own")
    assert_refused(mlrun("resume", "sweep"), "job 1: own/my.csv is not in data", "--data FOLDER")
    assert mlrun("resume", "sweep", "--data", "own").code == 0


@pytest.mark.slow
def test_every_data_file_is_recorded_at_the_start(mlrun, write_csv):
    rows = "".join(f"{i},{i * 0.5}\n" for i in range(40))
    for name in ("a.csv", "b.csv"):
        write_csv(name, f"x,y\n{rows}")
    words = ("task=csv", "data.target=y", "model=linear", "data.train=a.csv,b.csv,c.csv", *SMOKE)
    assert mlrun("-m", *words, "sweep.fail_fast=true", "hydra.sweep.dir=sweep").code == 1
    waiting(Path("sweep"), 1)
    known = json.loads(Path("sweep/sweep.json").read_text())["data"]
    files = [Path(file["path"]).name for entry in known.values() for file in entry["files"]]
    assert files == ["a.csv", "b.csv"]
    write_csv("b.csv", f"x,y\n{rows}1,2\n")
    answer = mlrun("resume", "sweep", "--data", ".")
    assert "the data has changed since the start of the sweep" in answer.err


# --- searches ---

WORDS = {
    "lookup": ("model.activation=${oc.env:HOME}", "refused; it would look something up again"),
    "nested lookup": ("data.id=${${task}:HOME}", "refused; it would look something up again"),
    "new folder": ("data.id=${new_folder:x,y}", "refused; it would look something up again"),
    "hydra": ("hydra.launcher._target_=os.system", "hydra"),
    "option": ("model=evil", "sweep/sweep.json: model: nothing to build"),
    "target": ("model._target_=os.system", "sweep/sweep.json: model._target_=os.system: refused"),
    "malformed": ("model.hidden=[1,", "cannot read"),
    "brackets": ("model.hidden=" + "[" * 3000, "sweep/sweep.json"),
    "numbers": ("trainer.batch_size=range(0,1e12,0.5)", "more than 100,000 values"),
    "glob": ("model=glob(*)", "sweep/sweep.json"),
    "sweep": ("sweep.halving=3", "cannot be combined with a search"),
}


@faults.foreign_sweep
@pytest.mark.parametrize("case", WORDS)
@pytest.mark.slow
def test_odd_words_of_a_foreign_search_are_refused(mlrun, search, case, monkeypatch):
    monkeypatch.setenv("HOME", "hunter2-hunter2")
    word, message = WORDS[case]
    record = json.loads((search / "sweep.json").read_text())["search"]
    change_record(search, search=record | {"words": [*record["words"], word]})
    before = content(Path())
    answer = mlrun("resume", "sweep")
    assert_refused(answer, message)
    assert "hunter2" not in answer.out + answer.err
    assert content(Path()) == before
    assert not Path("x").exists()


@faults.foreign_sweep
def test_a_foreign_search_with_a_wide_range_starts_at_once(mlrun, search):
    record = json.loads((search / "sweep.json").read_text())["search"]
    words = [*record["words"], "trainer.patience=range(1,1000000000000)"]
    change_record(search, search=record | {"words": words, "sampler": "tpe"})
    assert_refused(mlrun("resume", "sweep"), "trainer.patience= is not in the search space")


@faults.foreign_sweep
@pytest.mark.slow
def test_a_target_among_the_choices_of_a_foreign_search_is_not_built(mlrun, search):
    record = json.loads((search / "sweep.json").read_text())["search"]
    choices = "model._target_=mlrun.models.linear.Linear,os.system"
    words = [*record["words"], choices, "+model.command=touch PWNED"]
    change_record(search, search=record | {"words": words, "trials": 12, "sampler": "random"})
    change_journal(search, lambda _: None)
    answer = mlrun("resume", "sweep")
    assert answer.code == 1
    assert "model._target_=os.system: refused" in answer.err
    assert not Path("PWNED").exists()


BASES: dict[str, tuple[Any, str]] = {
    "target": (lambda c: c["model"].update(_target_="os.system"), "refused"),
    "lookup": (lambda c: c["data"].update(id="${oc.env:HOME}"), "must not contain references"),
    "nested lookup": (
        lambda c: c["data"].update(id="${${data.prediction}:HOME}", prediction="oc.env"),
        "must not contain references",
    ),
    "malformed": (lambda c: c["data"].update(id="${"), "sweep/sweep.json"),
    "circle": (lambda c: c["data"].update(id="${data.id}"), "data.id"),
    "nowhere": (lambda c: c["data"].update(id="${no.such}"), "data.id"),
}


@faults.foreign_sweep
@pytest.mark.parametrize("case", BASES)
def test_odd_configurations_of_a_foreign_search_are_refused(mlrun, search, case):
    change, message = BASES[case]
    frozen = json.loads((search / "sweep.json").read_text())["frozen"]
    for base in frozen:
        change(base["config"])
    change_record(search, frozen=frozen)
    before = content(Path())
    assert_refused(mlrun("resume", "sweep"), message)
    assert content(Path()) == before


SEARCHES: dict[str, tuple[Any, ...]] = {
    "search": (None, 1, [], {}, {"words": []}),
    "frozen": (None, 1, [], {}, [1], [{}]),
}
SEARCH_CASES = [{name: value} for name, values in SEARCHES.items() for value in values]


@faults.foreign_sweep
@pytest.mark.parametrize("values", SEARCH_CASES, ids=str)
def test_odd_values_in_the_record_of_a_search_are_damage(mlrun, search, values):
    change_record(search, **values)
    before = content(Path())
    assert_refused(mlrun("resume", "sweep"), "sweep/sweep.json")
    assert content(Path()) == before


@faults.foreign_sweep
@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("sampler", "evil"), ("sampler", None), ("trials", 0), ("trials", "6"), ("trials", True)],
        *[("at_once", 0), ("at_once", -1), ("at_once", 1.5), ("at_once", 10**12), ("seed", "x")],
    ],
)
def test_odd_settings_of_a_foreign_search_are_refused(mlrun, search, name, value):
    record = json.loads((search / "sweep.json").read_text())["search"]
    change_record(search, search=record | {name: value})
    before = content(Path())
    assert_refused(mlrun("resume", "sweep"))
    assert content(Path()) == before


@faults.foreign_sweep
@pytest.mark.parametrize(
    "word",
    ["optimizer.lr=1", "optimizer.lr=nan", "optimizer.lr=x", "optimizer.lr=", "trainer.l1=-1"],
)
def test_points_outside_the_search_space_are_damage(mlrun, search, word):
    key = word.partition("=")[0]

    def change(event: Any) -> Any:
        if event["job"] == 1 and "overrides" in event:
            event["overrides"] = [w for w in event["overrides"] if not w.startswith(key)] + [word]
        return event

    change_journal(search, change)
    assert_refused(mlrun("resume", "sweep"), f"{word} is not in the search space")


@faults.foreign_sweep
def test_a_search_whose_jobs_have_gaps_is_damaged(mlrun, search):
    change_journal(search, lambda event: event if event["job"] else None)
    assert_refused(mlrun("resume", "sweep"), "a job before 1 is missing")


# --- results that a stranger claims ---


@faults.foreign_sweep
@pytest.mark.parametrize("score", ["x", True, [], float("nan"), 10**400])
def test_an_odd_score_in_the_record_of_a_job_does_not_enter_the_journal(mlrun, sweep, made, score):
    shutil.copytree(made / "grid" / "1", "sweep/1")
    record = json.loads(Path("sweep/1/run.json").read_text()) | {"best_score": score}
    Path("sweep/1/run.json").write_text(json.dumps(record))
    answer = mlrun("resume", "sweep")
    assert answer.code == 0 if score != score else 1  # NaN is no score
    assert mlrun("show", "sweep").code == 0
