"""make soak: hundreds of random kills of real processes, and every system call failing once.

The kills come at a random moment between the start of the process and its end, imports included.
CRASH_SEED=N draws other moments.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.test_resume import JOBS, assert_same_run, status

pytestmark = [pytest.mark.slow, pytest.mark.sample]
SEED = os.environ.get("CRASH_SEED", "0")
SAME = "`mlrun resume` ends with the same bits as an uninterrupted run"
ALONE = (sys.executable, "-m", "mlrun")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
SHORT = ("quiet=true", "checkpoint.every_seconds=0")
RUNS: dict[str, tuple[str, ...]] = {
    "native": (*JOBS["covid"], "trainer.epochs=60"),
    "autograd": (*JOBS["phone_price"], "trainer.engine=autograd", "trainer.epochs=12"),
    "cnn": (*JOBS["mnist_cnn"], "trainer.epochs=3", "trainer.limit_batches=40"),
    "seeds": (*JOBS["covid"], "seeds=3", "trainer.epochs=40"),
    "folds": (*JOBS["phone_price"], "folds=3", "trainer.epochs=20"),
    "torchrun": (*JOBS["covid"], "trainer.epochs=4"),
}
GRID = ("optimizer.lr=0.001,0.01", "seed=0,1,2", "trainer.epochs=20")
SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=8", "hydra.sweeper.n_jobs=2")
SPACE = ("optimizer.lr=tag(log,interval(1e-4,1e-1))", "model.dropout=0,0.2", "trainer.epochs=20")
SWEEPS: dict[str, tuple[str, ...]] = {
    "grid": GRID,
    "halving": ("sweep.halving=2", *GRID),
    "tpe": (*SEARCH, "hydra.sweeper.sampler=tpe", *SPACE),
    "cmaes": (*SEARCH, "hydra.sweeper.sampler=cmaes", *SPACE),
    "members": ("seeds=2", "optimizer.lr=0.001,0.01", "trainer.epochs=20"),
    "per_device": ("hydra.launcher.per_device=2", *GRID),
}
KILLS = 10  # by test
RUN_TESTS, SWEEP_TESTS = 9, 3  # of each kind

Command = Callable[..., Any]


class Chain:
    """Starts a command, kills it, resumes it, kills it …, until it was killed often enough."""

    def __init__(self, words: Sequence[str], *, folder: str, start: Sequence[str] = ALONE) -> None:
        self.words, self.folder, self.start = words, folder, start
        self.number, self.killed = 0, 0

    @property
    def name(self) -> str:
        return f"broken{self.number}"

    def next_command(self) -> list[str]:
        """Resume what there is; a folder that was killed too early is left, and another begun."""
        if self.can_resume():
            return [*self.start, *self.module(), "resume", self.name]
        self.number += Path(self.name).exists()
        return [*self.start, *self.module(), *self.words, f"{self.folder}={self.name}"]

    def module(self) -> tuple[str, ...]:
        return ("-m", "mlrun") if self.start == TORCHRUN else ()

    def can_resume(self) -> bool:
        if self.folder == "hydra.sweep.dir":
            return Path(self.name, "sweep.json").is_file()
        return Path(self.name, "run.json").is_file()

    def kill_once(self, seconds: float) -> bool:
        """Start the next command and kill it after so long; return whether it ended before."""
        process = subprocess.Popen(
            self.next_command(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        try:
            _, error = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            self.killed += 1
            return False
        assert process.returncode == 0 or "start it again" in error, (process.args, error)
        return True

    def end(self) -> Path:
        """Let it end, and return its folder."""
        for _ in range(3):
            done = subprocess.run(self.next_command(), capture_output=True, text=True)
            if done.returncode == 0:
                return Path(self.name)
            assert "start it again" in done.stderr, done.stderr
            self.number += 1
        raise AssertionError("it never ends")


def length_of(chain: Chain) -> tuple[Path, float]:
    """Run it without a kill; return its folder, renamed, and the seconds it took."""
    began = time.monotonic()
    whole = chain.end().rename("whole")
    return whole, time.monotonic() - began


def assert_same_folder(whole: Path, broken: Path) -> None:
    """The same bits in every run folder below, nothing left lying about."""
    found = [file.parent.relative_to(whole) for file in whole.rglob("checkpoints")]
    assert found
    for run in found:
        assert_same_run(whole / run, broken / run)
    for file in (*whole.glob("pred*.csv"), *whole.glob("summary.csv")):
        assert file.read_bytes() == (broken / file.name).read_bytes(), file.name
    assert [str(file) for file in broken.rglob("*.tmp")] == []


def kill_often(chain: Chain, chance: random.Random) -> int:
    """Kill it at random moments, and compare each folder that ends with the whole one."""
    whole, length = length_of(chain)
    chain.number = 1
    while chain.killed < KILLS:
        if chain.kill_once(chance.uniform(0, length)) and status_of(chain.name) == "done":
            assert_same_folder(whole, Path(chain.name))
            chain.number += 1
    assert_same_folder(whole, chain.end())
    return chain.killed


def status_of(name: str) -> str:
    file = "sweep.json" if Path(name, "sweep.json").is_file() else "run.json"
    return status(Path(name)) if file == "run.json" else _status(Path(name, file))


def _status(file: Path) -> str:
    found = re.search(r'"status": "(\w+)"', file.read_text())
    return found[1] if found else "done"


@pytest.mark.fault("kill -9 of a run at a random moment since the start of its process", SAME)
@pytest.mark.parametrize("number", range(RUN_TESTS))
@pytest.mark.parametrize("kind", RUNS)
def test_soak_kills_of_runs(workdir, record_property, kind, number):
    start = TORCHRUN if kind == "torchrun" else ALONE
    chain = Chain((*RUNS[kind], *SHORT), folder="hydra.run.dir", start=start)
    record_property("examples", kill_often(chain, random.Random(f"{SEED} {kind} {number}")))


@pytest.mark.fault("kill -9 of a sweep at a random moment since the start of its process", SAME)
@pytest.mark.parametrize("number", range(SWEEP_TESTS))
@pytest.mark.parametrize("kind", SWEEPS)
def test_soak_kills_of_sweeps(workdir, record_property, kind, number):
    chain = Chain(("-m", "task=covid", *SWEEPS[kind], *SHORT), folder="hydra.sweep.dir")
    record_property("examples", kill_often(chain, random.Random(f"{SEED} {kind} {number}")))


# --- each system call fails once ---

CALLS = {
    "openat": "ENOSPC",
    "write": "ENOSPC",
    "fsync": "EIO",
    "rename": "EIO",
    "mkdir": "ENOSPC",
    "unlink": "EIO",
    "flock": "ENOLCK",
}
TRACED = ("task=covid", "quiet=true", "trainer.epochs=2", "trainer.limit_batches=3")
ONE_FAILS = "the run ends well, or with one error line and exit 2; `mlrun resume` has the same bits"


def traced(folder: str, call: str, *inject: str) -> "subprocess.CompletedProcess[str]":
    """Train in a process whose system calls of this name are written to the file `calls`."""
    strace = ["strace", "-f", "-y", "-qq", "-s0", "-esignal=none", f"-etrace={call}", "-ocalls"]
    words = (*TRACED, "checkpoint.every_seconds=0", f"hydra.run.dir={folder}")
    environment = os.environ | {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
    command = [*strace, *inject, *ALONE, *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def calls_on(folder: str) -> list[int]:
    """Return which calls of the process that trains, from 1, concern files of the folder."""
    lines = [line.split(maxsplit=1) for line in Path("calls").read_text().splitlines()]
    process = next(process for process, text in lines if f"/{folder}" in text)
    own = [text for one, text in lines if one == process and "(" in text]
    return [number for number, text in enumerate(own, 1) if f"/{folder}" in text]


@pytest.mark.fault("a system call of a run that fails once (strace)", ONE_FAILS)
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("call", CALLS)
def test_soak_every_system_call_fails_once(mlrun, record_property, call):
    assert traced("whole", call).returncode == 0
    assert traced("whole1", call).returncode == 0  # all caches are filled
    numbers = calls_on("whole1")
    assert numbers
    for number in numbers:
        name = f"broken{number}"
        inject = f"--inject={call}:error={CALLS[call]}:when={number}"
        answer = traced(name, call, inject)
        wrong = (inject, answer, Path("calls").read_text().splitlines()[-3:])
        assert answer.returncode in (0, 2), wrong
        assert "Traceback" not in answer.stderr, wrong
        assert answer.stderr.count("\n") <= 2, wrong
        if Path(name, "run.json").is_file():
            resumed = mlrun("resume", name)
            assert resumed.code == 0, (wrong, resumed)
            assert_same_folder(Path("whole"), Path(name))
    record_property("examples", len(numbers))
