"""Sweeps: jobs that equal single runs, a durable journal, reported failures, a table at the end."""

import csv
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mlrun.config.options import CONF
from mlrun.config.schema import register
from mlrun.config.values import composed as composition
from mlrun.errors import MlrunError
from mlrun.runs.folder import RunFolder, locked, open_run
from mlrun.sweeps import worker_pool
from mlrun.sweeps.halving import rungs
from mlrun.sweeps.journal import DONE, FAILED, QUEUED, RUNNING, Entry, Journal
from mlrun.sweeps.launch import sweep_grid
from mlrun.sweeps.points import Composer
from mlrun.sweeps.search import search
from mlrun.sweeps.summary import Setting, by_setting, difference, front, ranked
from mlrun.system.seams import Place, listening
from tests.crashing import Crash, crashing_at, raising
from tests.test_resume import assert_same_run

SMALL = ("debug=smoke", "trainer.epochs=4", "quiet=true")
NAMED = "hydra.sweep.dir=sweep"


def table(path: Path | str = "sweep/summary.csv") -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def statuses(folder: str = "sweep") -> list[str]:
    return [entry.status for entry in Journal(Path(folder)).read().values()]


# --- the jobs ---


@pytest.mark.parametrize(
    "of",
    [
        ("task=covid", "model.dropout=0.2"),
        pytest.param(("task=phone_price", "model.activation=prelu"), marks=pytest.mark.slow),
        pytest.param(("task=mnist", "model=cnn", "model.channels=[2,4]"), marks=pytest.mark.slow),
    ],
    ids=["native", "stacked", "one by one"],
)
def test_a_job_is_the_lone_run_of_its_overrides(mlrun, of):
    swept = ("optimizer.lr=0.001,0.01", "seed=1,2,3,4")
    assert mlrun("-m", *of, *swept, *SMALL, NAMED).code == 0
    lone = ("optimizer.lr=0.01", "seed=3", "hydra.run.dir=lone")
    assert mlrun(*of, *SMALL, *lone).code == 0
    if "model.activation=prelu" in of:  # a stack's numbers are equal to rounding
        assert_nearly_same_run(Path("lone"), Path("sweep/6"))
    else:
        assert_same_run(Path("lone"), Path("sweep/6"))


def assert_nearly_same_run(one: Path, other: Path) -> None:
    """The same losses and scores in every epoch, to rounding."""
    for first, second in zip(table(one / "metrics.csv"), table(other / "metrics.csv"), strict=True):
        for name in first.keys() - {"seconds"}:
            assert float(first[name]) == pytest.approx(float(second[name]), rel=1e-4), name


@pytest.mark.slow
def test_a_job_is_a_run_folder_like_any(mlrun, finished):
    finished("sweep", "-m", "optimizer.lr=0.001,0.01", "scheduler=constant", *SMALL)
    assert mlrun("evaluate", "sweep/1").code == 0
    assert mlrun("rerun", "sweep/1").code == 0
    assert mlrun("resume", "sweep/1", "trainer.epochs=6").code == 0
    assert open_run("sweep/0").record["command"].startswith("mlrun -m optimizer.lr=0.001,0.01")


@pytest.mark.slow
def test_hidden_sizes_engines_tasks_and_members_may_be_swept_at_once(mlrun):
    swept = ("task=covid,phone_price", "model.hidden=[4],[4,4]", "trainer.engine=auto,autograd")
    assert mlrun("-m", *swept, *SMALL, NAMED).code == 0
    assert statuses() == [DONE] * 8
    assert mlrun("-m", "seeds=2", "folds=2,3", *SMALL, "hydra.sweep.dir=of_members").code == 0
    assert [row["score"] != "" for row in table("of_members/summary.csv")] == [True, True]


@pytest.mark.slow
def test_hydras_own_word_for_a_sweep_makes_one(mlrun):
    assert mlrun("hydra.mode=MULTIRUN", "seed=1,2", *SMALL, NAMED).code == 0
    assert statuses() == [DONE, DONE]


@pytest.mark.slow
def test_jobs_that_cannot_be_stacked_are_trained_one_after_another(mlrun):
    assert mlrun("-m", "model.activation=prelu", "seed=1,2", *SMALL, NAMED).code == 0
    events = [json.loads(line) for line in Path("sweep/journal.jsonl").read_text().splitlines()]
    assert [event["job"] for event in events if event["status"] == DONE] == [0, 1]
    first, second = (moments(Path("sweep", job)) for job in ("0", "1"))
    assert max(first) <= min(second)


def moments(run: Path) -> list[float]:
    """When each epoch was written down, in seconds since 1970."""
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    return [event.wall_time for event in events.Scalars("Loss/train")]


# --- what is composed ---

WORDS = [
    ("task=mnist", "model=cnn", "optimizer=sgd", "optimizer.lr=0.5"),
    ("experiment=covid_linear", "seed=4", "+optimizer.amsgrad=true", "~optimizer.weight_decay"),
    ("scheduler=cosine", "trainer.epochs=${seed}", "seed=3", "scheduler.T_max=4"),
    ("task=csv", "data.split={method:kfold}", "data.split.method=holdout"),
]
MORE_WORDS = [
    ("model.hidden=[3,4]", "trainer.patience=null", "data.features={top:3}"),
    ("task=phone_price", "scheduler=cosine", "trainer.epochs=7", "debug=overfit"),
    ("optimizer.lr=1e-3", "scheduler=exponential", "scheduler.gamma=0.9"),
    ("paths.data=/a", "data.dir=${paths.data}/b", "trainer.patience=${seed}", "seed=3"),
    ("trainer.l1=1", "trainer.l1=2", "trainer.shuffle=0"),
]


@dataclass(frozen=True)
class Door:
    """What Hydra hands to a sweeper, made once."""

    loader: Any
    config: DictConfig
    launcher: Any

    def sweep(self, *words: str) -> None:
        sweep_grid(self.config, self.loader, self.launcher, words)

    def search(self, *words: str) -> None:
        search(self.config, self.loader, self.launcher, words)


@pytest.fixture(scope="module")
def door() -> Door:
    """Composing this anew for every sweep takes longer than all that a refusal takes."""
    register()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        loader = GlobalHydra.instance().config_loader()
        words = ["hydra/sweeper=optuna"]  # whose settings only a search reads
        config = loader.load_configuration("config", words, RunMode.MULTIRUN)
    return Door(loader, config, import_module("hydra_plugins.mlrun_sweep").MlrunLauncher(None))


@pytest.mark.parametrize(
    "words",
    [*WORDS, *(pytest.param(words, marks=pytest.mark.slow) for words in MORE_WORDS)],
    ids=" ".join,
)
def test_a_point_is_composed_as_hydra_composes_it(words, door):
    ours = Composer(door.loader, door.config).compose(words)
    theirs = door.loader.load_sweep_config(door.config, list(words))
    OmegaConf.set_readonly(theirs, False)
    with open_dict(theirs):
        del theirs["hydra"]
    assert ours == composition(theirs)


# --- failures ---


def test_failures_of_every_kind_stop_no_other_job_and_are_reported(mlrun):
    words = ("model.hidden=[4],[0]", "optimizer=sgd", "optimizer.lr=0.01,1e30", "trainer.epochs=4")
    answer = mlrun("-m", *words, "trainer.clip_norm=null", "debug=smoke", NAMED)
    assert answer.code == 1
    assert statuses() == [DONE, FAILED, FAILED, FAILED]
    assert "3 failed" in answer.out
    for job in (1, 2, 3):
        error = table()[job]["error"]
        assert error.replace("\n", " ")[:40] in answer.err
        assert error[:40] in Path(f"sweep/{job}/run.log").read_text()
        assert open_run(f"sweep/{job}").record["status"] in ("failed", "diverged")


@pytest.mark.slow
def test_a_bug_in_one_job_does_not_harm_the_others_of_its_group(mlrun):
    def fail(facts: Any) -> None:
        if (facts["run"].name, facts["epoch"]) == ("1", 3):
            raise ZeroDivisionError("in the third epoch")

    mlrun("-m", "seed=1,2,3", *SMALL, "hydra.sweep.dir=whole")
    with listening(Place.EPOCH_RECORDING, fail):
        assert mlrun("-m", "seed=1,2,3", *SMALL, NAMED).code == 1
    assert statuses() == [DONE, FAILED, DONE]
    assert "Traceback" in Path("sweep/1/run.log").read_text()
    for job in ("0", "2"):
        assert_same_run(Path("whole", job), Path("sweep", job))


@pytest.mark.slow
def test_the_first_failure_ends_the_sweep_on_request(mlrun):
    swept = ("loss=cross_entropy,mse", "sweep.fail_fast=true")
    answer = mlrun("-m", *swept, *SMALL, NAMED)
    assert answer.code == 1
    assert "error: job 0 (loss=cross_entropy" in answer.err
    assert statuses() == [FAILED, QUEUED]
    assert "stopped by sweep.fail_fast; jobs left: 1; to continue: mlrun resume sweep" in answer.err
    assert mlrun("resume", "sweep").code == 1
    assert statuses() == [FAILED, DONE]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        pytest.param("model=mlp,mpl", "Did you mean 'mlp'?", marks=pytest.mark.slow),
        ("optimizer.lrr=1,2", "Did you mean 'lr'?"),
        ("hydra.sweep.dir=.", "hydra.sweep.dir=.: must be the name of a new folder"),
        ("hydra.launcher.per_device=0", "hydra.launcher.per_device=0: must be at least 1, or null"),
        ("hydra.sweep.subdir=x", "hydra.sweep.subdir: several jobs would write to x"),
    ],
)
def test_a_mistake_is_refused_before_anything_is_made(mlrun, word, message):
    answer = mlrun("-m", "model.activation=relu,tanh", word)
    assert answer.code == 2
    assert message in answer.err
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("optimizer.lr=interval(0,1)", "not a list of values; use hydra/sweeper=optuna"),
        ("seed=0,0,1", "relu seed=0: this job appears twice; give each value once"),
        ("seed=range(0,0)", "no jobs: a range or glob in the arguments is empty"),
        (
            "sweep.fail_fast=true,false",
            "sweep.fail_fast applies to the whole sweep; give it one value",
        ),
        (
            "trainer.epochs=3,0",
            "(model.activation=relu trainer.epochs=0): trainer.epochs=0: must be at least 1",
        ),
    ],
)
def test_values_that_make_no_jobs_are_refused_before_anything_is_made(door, word, message):
    with pytest.raises(MlrunError, match=re.escape(message)):
        door.sweep("model.activation=relu,tanh", word)
    assert not Path("outputs").exists()


# --- resume ---


@pytest.mark.parametrize("epoch", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.slow
def test_a_sweep_that_crashed_ends_like_the_one_that_never_did(mlrun, monkeypatch, epoch):
    words = (
        "-m",
        "optimizer.lr=0.001,0.01",
        "seed=range(3)",
        *SMALL,
        "checkpoint.every_seconds=0",
    )
    monkeypatch.setattr("mlrun.runs.group.MOST_NATIVE", 2)
    assert mlrun(*words, "hydra.sweep.dir=whole").code == 0
    at = ("3", epoch)
    with crashing_at(Place.EPOCH_RECORDED, lambda facts: at == (facts["run"].name, facts["epoch"])):
        mlrun(*words, NAMED)
    assert statuses() == [DONE, DONE, RUNNING, RUNNING, RUNNING, QUEUED]
    assert mlrun("resume", "sweep").code == 0
    assert Path("sweep/summary.csv").read_bytes() == Path("whole/summary.csv").read_bytes()
    for job in map(str, range(6)):
        assert_same_run(Path("whole", job), Path("sweep", job))


@pytest.mark.sample
@pytest.mark.slow
def test_a_sweep_killed_three_times_ends_like_the_one_that_never_was(mlrun):
    words = ("-m", "optimizer.lr=0.001,0.01", "seed=range(12)", "trainer.epochs=60", "quiet=true")
    assert mlrun(*words, "hydra.sweep.dir=whole").code == 0
    command = [sys.executable, "-m", "mlrun"]
    for arguments in ([*words, NAMED], ["resume", "sweep"], ["resume", "sweep"]):
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.DEVNULL)
        before = count(DONE)
        while process.poll() is None and count(DONE) < before + 2:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert count(DONE) < 24
    assert mlrun("resume", "sweep").code == 0
    assert Path("sweep/summary.csv").read_bytes() == Path("whole/summary.csv").read_bytes()
    for job in ("0", "11", "23"):
        assert_same_run(Path("whole", job), Path("sweep", job))
    assert "nothing left to do: all 24 jobs have ended" in mlrun("resume", "sweep").out


def count(status: str) -> int:
    return statuses().count(status) if Path("sweep/journal.jsonl").is_file() else 0


@pytest.mark.slow
def test_a_sweep_continues_with_its_frozen_configuration_whatever_the_files_contain_now(
    mlrun, write_csv
):
    option = write_csv("conf/optimizer/mine.yaml", "defaults: [sgd]\nlr: 0.01\n")
    words = ("-m", "optimizer=mine", "seed=1,2", *SMALL, NAMED)
    mlrun(*words)
    journal = Path("sweep/journal.jsonl")
    queued = [line for line in journal.read_text().splitlines() if '"queued"' in line]
    journal.write_text("\n".join(queued) + "\n")
    for job in ("0", "1"):
        (Path("sweep") / job).rename(f"was_{job}")
    option.write_text("nonsense: [")
    assert mlrun("resume", "sweep").code == 0
    assert_same_run(Path("was_1"), Path("sweep/1"))


@pytest.mark.slow
def test_a_sweep_is_not_continued_on_other_data(mlrun, write_csv):
    rows = "x,y\n" + "".join(f"{n},{n % 7}\n" for n in range(40))
    csv_file = write_csv("my.csv", rows)
    of = ("task=csv", "data.train=my.csv", "data.target=y", "data.kind=regression")
    mlrun("-m", *of, "seed=1,2", *SMALL, NAMED)
    journal = Path("sweep/journal.jsonl")
    lines = [line for line in journal.read_text().splitlines() if '"job": 1, "status": "q' in line]
    journal.write_text("\n".join(lines) + "\n")
    (Path("sweep") / "1").rename("gone")
    csv_file.write_text(rows + "1,2\n")
    answer = mlrun("resume", "sweep")
    assert answer.code == 1
    assert "the data has changed since the start of the sweep" in answer.err
    csv_file.write_text(rows)
    assert mlrun("resume", "sweep").code == 1
    assert mlrun("resume", "sweep", "--failed").code == 0
    assert_same_run(Path("gone"), Path("sweep/1"))


@pytest.mark.slow
def test_a_job_whose_folder_is_gone_is_trained_again(mlrun, finished):
    finished("sweep", "-m", "seed=1,2", *SMALL)
    (Path("sweep") / "1").rename("gone")
    assert mlrun("resume", "sweep").code == 0
    assert_same_run(Path("gone"), Path("sweep/1"))


def test_a_second_process_on_the_same_sweep_is_refused(mlrun, finished):
    finished("sweep", "-m", "seed=1,2", *SMALL)
    with locked(RunFolder(Path("sweep"))):
        answer = mlrun("resume", "sweep")
    assert answer.code == 2
    assert "another process is training in sweep" in answer.err


def test_ctrl_c_prints_how_to_continue(mlrun):
    with listening(Place.EPOCH_RECORDED, lambda _: os.kill(os.getpid(), signal.SIGINT)):
        answer = mlrun("-m", "seed=1,2", *SMALL, NAMED)
    assert answer.code == 130
    assert "to continue: mlrun resume sweep" in answer.err
    assert mlrun("resume", ".").code == 0  # the newest there is
    assert statuses() == [DONE, DONE]


@pytest.mark.slow
def test_ctrl_c_between_jobs_prints_it_too(mlrun):
    with listening(Place.JOB_BEGINS, raising(KeyboardInterrupt())):
        answer = mlrun("-m", "seed=1,2", *SMALL, NAMED)
    assert (answer.code, answer.err.count("\n")) == (130, 2)
    assert "to continue: mlrun resume sweep" in answer.err


@pytest.mark.slow
def test_two_sweeps_in_the_same_second_have_two_folders(mlrun):
    words = [sys.executable, "-m", "mlrun", "-m", "seed=1,2", *SMALL]
    both = [subprocess.Popen(words, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert len([*Path("outputs").glob("*/*/summary.csv")]) == 2


# --- the journal ---


def test_a_line_that_was_cut_off_is_dropped(workdir):
    journal = Journal(workdir)
    journal.add({"job": 0, "status": QUEUED}, {"job": 1, "status": QUEUED})
    with journal.path.open("a") as file:
        file.write('{"job": 1, "stat')
    assert [entry.status for entry in journal.read().values()] == [QUEUED, QUEUED]
    journal.add({"job": 1, "status": DONE})
    assert [entry.status for entry in journal.read().values()] == [QUEUED, DONE]


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"job": "0"}', '{"job": 0, "status": "odd"}'])
def test_a_damaged_journal_is_reported(workdir, line):
    journal = Journal(workdir)
    journal.path.write_text(line + "\n")
    with pytest.raises(MlrunError, match="is damaged"):
        journal.read()


def _write(folder: Path, first: int) -> None:
    for job in range(first, first + 50):
        Journal(folder).add({"job": job, "status": QUEUED}, {"job": job, "status": DONE})


def test_several_processes_write_one_journal(workdir):
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(_write, [workdir] * 4, range(0, 200, 50)))
    assert [entry.status for entry in Journal(workdir).read().values()] == [DONE] * 200


# --- the summary ---


def entries(scores: dict[str, list[float]]) -> list[Entry]:
    """A setting's scores, one for each seed."""
    trainer = {"monitor": "valid/mse", "mode": "auto"}
    found: list[Entry] = []
    for lr, values in scores.items():
        for seed, score in enumerate(values):
            config = {"seed": seed, "task": "covid", "trainer": trainer, "data": {}}
            words = (f"optimizer.lr={lr}", f"seed={seed}")
            found.append(Entry(len(found), DONE, words, config, {}, "", score))
    return found


def test_seeds_are_repetitions_and_ranks_are_by_mean():
    found = entries({"1": [3.0, 1.0, 5.0], "2": [2.0, 2.0, 2.0]})
    best, other = ranked(by_setting(found, ["optimizer.lr", "seed"]))
    assert (best.overrides, best.mean, best.deviation) == (("optimizer.lr=2",), 2.0, 0.0)
    assert (other.mean, other.deviation, other.best_job.job) == (3.0, 2.0, 1)


def test_whether_first_and_second_differ_is_tested_over_the_same_seeds():
    noise = [0.0, 4.0, 8.0, 2.0, 6.0]
    alike = entries({"1": noise, "2": [1.0, 3.0, 9.0, 1.0, 6.5]})
    apart = entries({"1": noise, "2": [1.0, 5.1, 8.9, 3.0, 7.0]})
    for found, differ in ((alike, False), (apart, True)):
        test, chance = difference(*by_setting(found, ["optimizer.lr", "seed"])) or ("", 1.0)
        assert test == "paired t-test over 5 seeds"
        assert (chance < 0.05) is differ


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0.9, 0.9, 0.9], [0.8, 0.8, 0.8]),
        ([0.1, 0.2, 0.3], [0.3, 0.4, 0.5]),  # the same difference for each seed
        ([1e-300, 2e-300], [0.0, 0.0]),
    ],
)
def test_scores_that_hardly_vary_differ_without_a_warning(first, second):
    found = difference(*by_setting(entries({"1": first, "2": second}), ["optimizer.lr"]))
    assert found is not None
    assert found[1] < 0.5


def test_scores_near_the_limit_of_floats_are_ranked_without_a_warning():
    found = entries({"1": [1.7e308, -1.7e308], "2": [1.7e308, 1.7e308, 1.7e308]})
    one, other = ranked(by_setting(found, ["optimizer.lr", "seed"]))
    assert (one.mean, one.deviation) == (0.0, math.inf)
    assert math.isclose(other.mean, 1.7e308)
    assert difference(one, other) is None


@pytest.mark.slow
def test_different_metrics_are_ranked_apart(mlrun):
    answer = mlrun("-m", "trainer.monitor=valid/r2,valid/mse", "debug=smoke", NAMED)
    tables = [line.split()[1] for line in answer.out.splitlines() if line.startswith(" #")]
    assert tables == ["valid/r2", "valid/mse"]


@pytest.mark.slow
def test_what_was_typed_is_shown_as_it_was(mlrun):
    answer = mlrun("-m", "data.drop=[],[AL]", "debug=smoke", NAMED)
    assert "data.drop=[AL]" in answer.out
    assert "SAMPLE" in answer.out


def test_the_table_ranks_names_the_best_run_and_what_to_type(mlrun):
    words = ("optimizer.lr=0.001,0.01", "seed=1,2", "model=linear", "debug=smoke", NAMED)
    answer = mlrun("-m", *words)
    assert answer.code == 0
    lines = answer.out.splitlines()
    ranking = next(i for i, line in enumerate(lines) if line.startswith(" #"))
    assert max(map(len, lines[ranking:])) <= 80
    record = json.loads(Path("sweep/sweep.json").read_text())
    first = record["ranking"][0]
    assert first["count"] == 2
    assert first["mean"] <= record["ranking"][1]["mean"]
    best = f"sweep/{first['best_job']}"
    assert f"best run     {best}" in lines
    assert f"again        mlrun rerun {best}" in lines
    assert f"new rows     mlrun predict {best} --input FILE" in lines
    assert "summary      sweep/summary.csv" in lines


@pytest.mark.slow
def test_other_targets_are_ranked_apart(mlrun, write_csv):
    write_csv("t.csv", "x,a,b\n" + "".join(f"{i},{i * 0.5},{i + 0.1}\n" for i in range(40)))
    own = ("task=csv", "data.train=t.csv", "model=linear", "trainer.epochs=2")
    mlrun("-m", *own, "data.target=a,b", NAMED)
    assert len(json.loads(Path("sweep/sweep.json").read_text())["ranking"]) == 2
    assert mlrun("show", "sweep").out.count("best run") == 2


def test_a_sweep_is_shown_as_it_stands(mlrun):
    answer = mlrun("-m", "loss=mse,cross_entropy", "debug=smoke", NAMED)
    shown = mlrun("show", "sweep")
    lines = shown.out.splitlines()
    assert lines[0] == "status       done: 1 done, 1 failed"
    assert lines[1].startswith("command      mlrun -m loss=mse,cross_entropy debug=smoke")
    assert shown.err == answer.err
    assert lines[-1] == answer.out.splitlines()[-1] == "sweep folder sweep"


@pytest.mark.parametrize("line", ['{"job": 0, "status": "done", "score": "x"}', "nonsense"])
def test_a_damaged_sweep_is_reported_when_it_is_shown(mlrun, line):
    Path("sweep").mkdir()
    Path("sweep/sweep.json").write_text('{"format": 1, "swept": ["seed"]}')
    Path("sweep/journal.jsonl").write_text(line + "\n")
    answer = mlrun("show", "sweep")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "journal.jsonl" in answer.err
    assert "is damaged" in answer.err


@pytest.mark.slow
def test_failed_jobs_are_repeated_and_their_errors_removed(mlrun, write_csv):
    words = ("task=csv", "data.target=y", "model=linear", "trainer.epochs=2", "quiet=true")
    write_csv("there.csv", "x,y\n" + "".join(f"{i},{i * 0.5}\n" for i in range(40)))
    answer = mlrun("-m", *words, "data.train=t.csv,there.csv", NAMED)
    assert "error: job 0 " in answer.err
    assert "failed: no file t.csv" in answer.err
    assert answer.err.endswith("repeat       mlrun resume sweep --failed\n")
    write_csv("t.csv", "x,y\n" + "".join(f"{i},{i * 0.5}\n" for i in range(40)))
    assert (
        mlrun("resume", "sweep", "--data", "nowhere").err
        == "error: --data nowhere: no such folder\n"
    )
    answer = mlrun("resume", "sweep", "--failed")
    assert (answer.code, "job 0: t.csv is not in data: a resumed" in answer.err) == (2, True)
    assert mlrun("resume", "sweep", "--failed", "--data", ".").code == 0
    assert [(row["status"], row["error"]) for row in table()] == [(DONE, "")] * 2


def test_a_sweep_whose_process_is_gone_was_killed(mlrun, finished):
    finished("sweep", "-m", "seed=1,2", *SMALL)
    file = Path("sweep/sweep.json")
    file.write_text(file.read_text().replace('"status": "done"', '"status": "running"'))
    assert "status       killed: 2 done" in mlrun("show", "sweep").out
    with locked(RunFolder(Path("sweep"))):
        assert "status       running: 2 done" in mlrun("show", "sweep").out


# --- several objectives ---


def of_objectives(job: int, **values: float | None) -> Setting:
    entry = Entry(job, DONE, score=1.0, objectives={f"valid/{k}": v for k, v in values.items()})
    return Setting((str(job),), "covid", "valid/mse", False, {}, None, (entry,))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_the_front_contains_exactly_the_settings_that_no_other_dominates(points):
    settings = [of_objectives(n, mse=a, mae=b, r2=c) for n, (a, b, c) in enumerate(points)]
    found = {setting.jobs[0].job for setting in front(settings)}
    for number, (a, b, c) in enumerate(points):
        beaten = any(x <= a and y <= b and z >= c and (x, y, z) != (a, b, c) for x, y, z in points)
        assert (number in found) is not beaten


def test_a_setting_without_an_objective_is_in_no_front():
    settings = [of_objectives(0, mse=1.0, r2=None), of_objectives(1, mse=2.0, r2=0.5)]
    assert [setting.jobs[0].job for setting in front(settings)] == [1]


@pytest.mark.slow
def test_the_front_is_printed_with_the_means_over_the_seeds(mlrun):
    words = ("model.hidden=[4],[8]", "seed=1,2", "sweep.objectives=[valid/mse,parameters]")
    answer = mlrun("-m", *words, "debug=smoke", NAMED)
    assert "Pareto front of valid/mse and parameters:" in answer.out
    [found] = json.loads(Path("sweep/sweep.json").read_text())["fronts"]
    rows = [row for row in table() if row["model.hidden"] == "[4]"]
    smallest = next(one for one in found if one["overrides"] == ["model.hidden=[4]"])
    assert smallest["objectives"]["parameters"] == int(rows[0]["parameters"])
    assert smallest["objectives"]["valid/mse"] == fmean(float(row["valid/mse"]) for row in rows)
    assert [row["valid/mse"] for row in rows] == [row["score"] for row in rows]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sweep.objectives=[valid/mse]",), "must be two or more different scores, or null"),
        (("sweep.objectives=[valid/mse,paramters]",), "Did you mean 'parameters'?"),
        (("sweep.objectives=[valid/mse,parameters]", "sweep.halving=2"), "remove sweep.objectives"),
    ],
    ids=["one", "misspelt", "halving"],
)
@pytest.mark.slow
def test_invalid_objectives_are_refused_before_anything_is_written(door, words, message):
    with pytest.raises(MlrunError, match=re.escape(message)):
        door.sweep("seed=1,2", *words)
    assert not Path("outputs").exists()


@pytest.mark.slow
def test_a_sampler_for_one_objective_refuses_several_before_anything_is_made(mlrun):
    several = "sweep.objectives=[valid/mse,parameters]"
    sampler = ("hydra/sweeper=optuna", "hydra.sweeper.sampler=cmaes")
    answer = mlrun("-m", *sampler, several, "model.dropout=0,0.1")
    assert (answer.code, "supports one objective only" in answer.err) == (2, True)
    assert not Path("outputs").exists()


@pytest.mark.slow
def test_an_objective_that_the_task_does_not_score_is_reported(mlrun):
    words = ("sweep.objectives=[valid/mse,valid/accuracy]", "model=linear", "debug=smoke", NAMED)
    answer = mlrun("-m", "seed=1,2", *words)
    assert statuses() == [FAILED, FAILED]
    assert "error: 2 jobs (0, 1) failed: sweep.objectives=valid/accuracy: a reg" in answer.err


@pytest.mark.slow
def test_a_search_for_several_objectives_uses_all_of_them(mlrun, monkeypatch):
    studies, create = [], optuna.create_study

    def noted(**named: Any) -> optuna.Study:
        studies.append(create(**named))
        return studies[-1]

    monkeypatch.setattr(optuna, "create_study", noted)
    space = ("optimizer.lr=interval(0.001,0.01)", "model.hidden=[4],[8]")
    objectives = "sweep.objectives=[valid/r2,parameters]"
    assert mlrun(*SEARCH, *space, objectives, *SMALL, NAMED).code == 0
    [study] = studies
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    values = [[float(row["valid/r2"]), float(row["parameters"])] for row in table()]
    assert [trial.values for trial in study.trials] == values


# --- Hydra's other launchers and sweepers ---


PER_DEVICE = "hydra.launcher.per_device=2"
OTHERS = ("hydra/sweeper=basic", "hydra/launcher=joblib", "hydra/launcher=submitit_local")
RAY = pytest.mark.skipif(not find_spec("ray"), reason="not installed: pip install '.[ray]'")


@pytest.mark.parametrize(
    "other",
    ["hydra/launcher=basic", *OTHERS, PER_DEVICE, pytest.param("hydra/launcher=ray", marks=RAY)],
)
@pytest.mark.sample
@pytest.mark.slow
def test_other_launchers_and_sweepers_leave_the_same_sweep(mlrun, other):
    words = ("-m", "optimizer.lr=0.001,0.01", "seed=1,2", *SMALL)
    assert mlrun(*words, "hydra.sweep.dir=ours").code == 0
    assert mlrun(*words, other, NAMED).code == 0
    assert mlrun("resume", "sweep").code == 0
    assert Path("sweep/summary.csv").read_bytes() == Path("ours/summary.csv").read_bytes()
    for job in map(str, range(4)):
        assert_same_run(Path("ours", job), Path("sweep", job))


@given(st.integers(1, 300), st.integers(1, 40))
def test_turns_are_neighbours_and_all_there_are(jobs, count):
    turns = worker_pool.parts(range(jobs), count)
    assert [*itertools.chain.from_iterable(turns)] == [*range(jobs)]
    assert len(turns) <= count


@pytest.mark.parametrize(
    ("gpus", "asked", "seen"),
    [(0, None, [""]), (2, None, ["0", "1"]), (2, "3,5", ["3", "5"]), (1, "GPU-ab", ["GPU-ab"])],
)
def test_every_visible_gpu_gets_its_processes(monkeypatch, gpus, asked, seen):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.delenv(worker_pool.VISIBLE, raising=False)
    if asked:
        monkeypatch.setenv(worker_pool.VISIBLE, asked)
    assert worker_pool.devices() == seen


@pytest.mark.sample
@pytest.mark.slow
def test_processes_may_build_classes_of_the_users_own(mlrun, write_csv, monkeypatch):
    monkeypatch.syspath_prepend(str(Path.cwd()))
    write_csv(
        "nets.py",
        "import torch\n"
        "class Wide(torch.nn.Linear):\n"
        "    def __init__(self, in_shape, out_features):\n"
        "        super().__init__(in_shape[0], out_features)\n",
    )
    write_csv("conf/model/wide.yaml", "# mine\n_target_: nets.Wide\n")
    words = ("model=wide", "seed=1,2", "allow=[nets.Wide]", PER_DEVICE, *SMALL, NAMED)
    answer = mlrun("-m", *words)
    assert (answer.code, statuses()) == (0, [DONE, DONE]), answer.err


@pytest.mark.sample
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_processes_end_with_the_one_that_started_them(mlrun, number):
    words = ["-m", "optimizer.lr=0.001,0.01", "seed=1,2,3,4", "trainer.epochs=600", "quiet=true"]
    words += ["trainer.patience=null", "checkpoint.every_seconds=0.1"]
    assert mlrun(*words, "hydra.sweep.dir=whole").code == 0
    command = [sys.executable, "-m", "mlrun", *words, NAMED, PER_DEVICE]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(Path("sweep").glob("*/checkpoints/last.safetensors")):
            time.sleep(0.05)
        process.send_signal(number)
    time.sleep(1)
    assert RUNNING in statuses()
    assert mlrun("resume", "sweep").code == 0
    assert Path("sweep/summary.csv").read_bytes() == Path("whole/summary.csv").read_bytes()
    for job in map(str, range(8)):
        assert_same_run(Path("whole", job), Path("sweep", job))


@pytest.mark.slow
def test_a_launcher_that_composes_anew_uses_the_sweeps_folder(mlrun):
    assert mlrun("-m", "seed=1,2", *SMALL, "hydra/launcher=basic").code == 0
    (sweep,) = Path("outputs").glob("*/*_sweep")
    assert statuses(str(sweep)) == [DONE, DONE]


@pytest.mark.slow
def test_an_error_before_a_launched_job_begins_is_reported(mlrun):
    error = ZeroDivisionError("before the job could begin")
    with listening(Place.LAUNCHED_JOB_BEGINS, raising(error)):
        answer = mlrun("-m", "seed=1,2", *SMALL, "hydra/launcher=basic", NAMED)
    assert answer.code == 1
    assert "error: 2 jobs (0, 1) failed: before the job could begin" in answer.err


# --- before it begins ---


def test_a_dry_run_prints_what_a_sweep_would_do_and_writes_nothing(mlrun):
    words = ("optimizer.lr=0.001,0.01", "seed=range(3)", "model.dropout=0,2", "debug=smoke")
    answer = mlrun("-m", *words, "--dry-run")
    assert answer.code == 2
    lines = answer.out.splitlines()
    assert lines[:2] == ["jobs: 12", "  optimizer.lr: 0.001, 0.01"]
    assert "  seed: 0, 1, 2 (repetitions)" in lines
    assert "groups, trained one after another: 1" in lines
    assert "on SAMPLE DATA: found no data files" in lines
    assert "6 would fail: model.dropout=2: must be at least 0 and below 1" in answer.out
    assert answer.err == "error: 6 of the 12 jobs would fail\n"
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("swept", "groups"),
    [
        ("optimizer.lr=1e-4,1e-3,1e-2,1e-1", 1),
        pytest.param("model.dropout=0,0.1,0.2,0.3", 4, marks=pytest.mark.slow),
    ],
)
@pytest.mark.slow
def test_jobs_that_are_stacked_differ_in_seeds_and_rates(mlrun, swept, groups):
    words = ("model.activation=prelu", "scheduler=onecycle", "trainer.epochs=1")
    answer = mlrun("-m", *words, "trainer.limit_batches=1", swept, "--dry-run")
    assert f"groups, trained one after another: {groups}" in answer.out, answer


def test_a_dry_run_is_of_a_sweep(mlrun):
    answer = mlrun("seed=1", "--dry-run")
    assert answer.code == 2
    assert "--dry-run needs -m" in answer.err


# --- searches ---

SEARCH = ("-m", "hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=3")
SPACE = (
    "optimizer.lr=tag(log,interval(1e-4,1e-1))",
    "model.hidden=[4],[4,4]",
    "optimizer=adamw,sgd",
    "trainer.batch_size=range(64,257,64)",
    "trainer.accumulate=int(interval(1,3))",
)


SLOW = [pytest.param(sampler, marks=pytest.mark.slow) for sampler in ("random", "cmaes")]


@pytest.mark.parametrize("sampler", ["tpe", *SLOW])
def test_a_search_draws_from_its_space(mlrun, sampler):
    assert mlrun(*SEARCH, f"hydra.sweeper.sampler={sampler}", *SPACE, *SMALL, NAMED).code == 0
    rows = table()
    assert len(rows) == 6
    assert all(1e-4 <= float(row["optimizer.lr"]) <= 1e-1 for row in rows)
    assert {row["trainer.batch_size"] for row in rows} <= {"64", "128", "192", "256"}
    assert {row["model.hidden"] for row in rows} == {"[4]", "[4,4]"}
    assert len({row["optimizer.lr"] for row in rows}) == 6


@pytest.mark.slow
def test_a_grid_search_ends_when_all_is_tried(mlrun):
    space = ("optimizer.lr=0.001,0.01", "optimizer=adamw,sgd")
    assert mlrun(*SEARCH, "hydra.sweeper.sampler=grid", *space, *SMALL, NAMED).code == 0
    found = {(row["optimizer.lr"], row["optimizer"]) for row in table()}
    assert len(table()) == len(found) == 4


@pytest.mark.slow
def test_failed_trials_do_not_end_a_search(mlrun):
    space = ("loss=mse,cross_entropy", "optimizer.lr=interval(0.001,0.01)")
    assert mlrun(*SEARCH, *space, *SMALL, NAMED).code == 1
    assert len(statuses()) == 6
    assert {*statuses()} == {DONE, FAILED}


RUN_4 = Path("sweep/4")


def die_when_queued(add: Any) -> Any:
    def died(self: Journal, *events: Any) -> None:
        if (3, QUEUED) in [(event["job"], event["status"]) for event in events]:
            raise Crash
        add(self, *events)

    return died


def die_in_tell(tell: Any) -> Any:
    def died(self: optuna.Study, trial: int, *others: Any, **named: Any) -> Any:
        if trial == 4:
            raise Crash
        return tell(self, trial, *others, **named)

    return died


CRASHES: dict[str, tuple[Any, str, Any]] = {
    "before the first job": (Journal, "add", die_when_queued),
    "before the study gets the result": (optuna.Study, "tell", die_in_tell),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "crash", ["while training", "before the first job", "before the study gets the result"]
)
def test_a_search_that_crashed_goes_on_as_it_would_have(mlrun, monkeypatch, crash):
    assert mlrun(*SEARCH, *SPACE, *SMALL, "hydra.sweep.dir=whole").code == 0
    if crash == "while training":
        with crashing_at(Place.EPOCH_RECORDED, lambda facts: facts == {"run": RUN_4, "epoch": 2}):
            mlrun(*SEARCH, *SPACE, *SMALL, NAMED)
    else:
        owner, name, died = CRASHES[crash]
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, died(getattr(owner, name)))
            with pytest.raises(Crash):
                mlrun(*SEARCH, *SPACE, *SMALL, NAMED)
    assert mlrun("resume", "sweep").code == 0
    assert Path("sweep/summary.csv").read_bytes() == Path("whole/summary.csv").read_bytes()
    assert "nothing left" not in mlrun("resume", "sweep").err


def test_a_search_is_a_sweep(mlrun):
    answer = mlrun("hparams=covid")
    assert answer.code == 2
    assert "hydra/sweeper=optuna needs -m" in answer.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no search space: give ranges"),
        (("optimizer.lr=tag(log,interval(0,1))",), "optimizer.lr=tag(log,interval(0,1)): "),
        (("optimizer.lr=tag(lgo,interval(1,2))",), "unknown tag 'lgo'; only log"),
        (("seed=1,2",), "seed is not a search parameter"),
        (("sweep.halving=3", "optimizer.lr=1,2"), "cannot be combined with a search"),
    ],
)
def test_an_invalid_search_is_refused_before_anything_is_written(door, words, message):
    with pytest.raises(MlrunError, match=re.escape(message)):
        door.search(*words)
    assert not Path("outputs").exists()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("hydra.sweeper.sampler=tpa", "hydra.sweeper.sampler=tpa: must be one of tpe, random"),
        ("hydra.sweeper.n_jobs=0", "hydra.sweeper.n_jobs=0: must be at least 1"),
        ("hydra.sweeper.n_jobs=99999", "hydra.sweeper.n_jobs=99999: must be at most 10000"),
    ],
)
@pytest.mark.slow
def test_a_way_to_search_that_there_is_not_is_refused(mlrun, word, message):
    answer = mlrun("-m", "hydra/sweeper=optuna", "optimizer.lr=1,2", word)
    assert (answer.code, message in answer.err) == (2, True)
    assert not Path("outputs").exists()


# --- successive halving ---

RATES = "optimizer.lr=1e-4,3e-4,1e-3,3e-3,1e-2,3e-2,1e-1,3e-1,1"
HALVING = (
    *("sweep.halving=3", "quiet=true", "checkpoint.every_seconds=0"),
    *("trainer.epochs=18", "trainer.limit_batches=3", "trainer.clip_norm=1"),
)


def test_rungs_are_shares_of_the_epochs_as_long_as_there_are_jobs_to_stop():
    assert rungs(300, 27, 3) == [11, 33, 100]
    assert rungs(300, 9, 3) == [33, 100]
    assert rungs(4, 100, 2) == [1, 2]
    assert rungs(10, 2, 3) == []


@pytest.mark.slow
def test_a_setting_is_stopped_with_all_its_seeds(mlrun):
    assert mlrun("-m", "optimizer.lr=1e-4,1e-2,1", "seed=1,2", *HALVING, NAMED).code == 0
    ends = [{row["status"] for row in table()[first : first + 2]} for first in (0, 2, 4)]
    assert sorted(map(sorted, ends)) == [["done"], ["stopped"], ["stopped"]]


@pytest.mark.slow
def test_at_every_rung_only_the_best_go_on_to_the_bits_of_their_lone_run(mlrun):
    assert mlrun("-m", RATES, *HALVING, NAMED).code == 0
    rows = table()
    assert sorted(int(row["epochs"]) for row in rows) == [2] * 6 + [6] * 2 + [18]
    assert [row["status"] for row in rows].count("stopped") == 8
    [best] = [row for row in rows if row["status"] == "done"]
    rate = f"optimizer.lr={best['optimizer.lr']}"
    assert mlrun(rate, *HALVING, "hydra.run.dir=lone").code == 0
    assert_same_run(Path("lone"), Path("sweep", best["job"]))
    stopped = next(row for row in rows if row["status"] == "stopped")
    assert (Path("sweep") / stopped["job"] / "pred.csv").is_file()
    assert open_run(f"sweep/{stopped['job']}").record["stopped"] == "halving"
    assert mlrun("resume", f"sweep/{stopped['job']}").code == 0
    assert open_run(f"sweep/{stopped['job']}").record["epochs"] == 18


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [2, 4])
def test_halving_that_crashed_ends_like_the_one_that_never_did(mlrun, monkeypatch, epoch):
    words = ("-m", RATES, *HALVING)
    assert mlrun(*words, "hydra.sweep.dir=whole").code == 0
    with crashing_at(Place.EPOCH_RECORDED, lambda facts: bool(facts["epoch"] == epoch)):
        mlrun(*words, NAMED)
    assert mlrun("resume", "sweep").code == 0
    assert Path("sweep/summary.csv").read_bytes() == Path("whole/summary.csv").read_bytes()


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.epochs=3,4", "all jobs must have the same trainer.epochs"),
        ("task=covid,phone_price", "the same task and trainer.monitor"),
        ("seeds=1,2", "cannot be combined with seeds, folds or trainer.max_minutes"),
        ("sweep.halving=1", "sweep.halving=1: must be at least 2, or null"),
        ("optimizer.lr=1,2", "sweep.halving=3: too few jobs or epochs (2 settings of 300 epochs)"),
    ],
)
@pytest.mark.slow
def test_halving_what_cannot_be_compared_is_refused(door, word, message):
    with pytest.raises(MlrunError, match=re.escape(message)):
        door.sweep("sweep.halving=3", word)
