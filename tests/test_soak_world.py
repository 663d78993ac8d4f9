"""make soak: the world changes while a real process trains.

Memory runs out, the clock jumps, a parent process is stopped, other processes start in the same
place, and someone edits or deletes the files of the run.
"""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from tests import faults
from tests.test_resume import status
from tests.test_soak import ALONE, GRID, RUNS, SEED, SHORT, TORCHRUN, assert_same_folder

pytestmark = [pytest.mark.slow, pytest.mark.sample]
LONG = (*RUNS["native"], *SHORT, "trainer.epochs=400", "trainer.patience=null")
SWEEP = ("-m", "task=covid", *GRID, *SHORT)


def started(
    *words: str, start: Sequence[str] = ALONE, env: Mapping[str, str] = MappingProxyType({})
) -> subprocess.Popen[str]:
    """Start a command in another process."""
    return subprocess.Popen(
        [*start, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | {**env},
    )


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for its end, and return what it wrote to standard error."""
    _, error = process.communicate(timeout=300)
    assert process.returncode == code, (process.args, error)
    return error


def wait_for(pattern: str) -> None:
    """Wait until a file with such a name is there."""
    until = time.monotonic() + 120
    while not list(Path().glob(pattern)):
        assert time.monotonic() < until, pattern
        time.sleep(0.01)


# --- memory ---

A_LITTLE = 2**20  # bytes that it may still have


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
@faults.no_memory
@pytest.mark.parametrize("kind", ["native", "autograd", "seeds"])
def test_soak_memory_runs_out_at_a_random_moment(workdir, record_property, kind):
    chance, tries = random.Random(f"{SEED} memory {kind}"), 10
    words = (*RUNS[kind], *SHORT)
    began = time.monotonic()
    ended(started(*words, "hydra.run.dir=whole"))
    length = time.monotonic() - began
    for number in range(tries):
        name = f"broken{number}"
        process = started(*words, f"hydra.run.dir={name}")
        time.sleep(chance.uniform(0.3, 1) * length)
        _leave_little_memory(process)
        process.communicate(timeout=300)
        if Path(name, "run.json").is_file():
            ended(started("resume", name))
            assert_same_folder(Path("whole"), Path(name))
    record_property("examples", tries)


def _leave_little_memory(process: subprocess.Popen[str]) -> None:
    try:
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + A_LITTLE
        resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
    except (ProcessLookupError, FileNotFoundError, IndexError):
        pass  # it has just ended


# --- the clock ---

JUMPING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long jump(void) { return (random() % 200001) - 100000; }  /* up to a day, back or forth */
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec += jump();
    return result;
}
time_t time(time_t *place) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (place) *place = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
"""


@pytest.fixture
def jumping_clock(workdir: Path) -> dict[str, str]:
    """The environment of a process whose clock jumps by up to a day whenever it is asked."""
    if sys.platform != "linux" or not shutil.which("cc"):
        pytest.skip("needs cc on Linux")
    Path("jump.c").write_text(JUMPING)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", "jump.so", "jump.c", "-ldl"], check=True)
    return {"LD_PRELOAD": str(workdir / "jump.so")}


@faults.wrong_clock
@pytest.mark.parametrize("kind", RUNS)
def test_soak_the_clock_of_a_run_jumps(jumping_clock, kind):
    start = TORCHRUN if kind == "torchrun" else ALONE
    words = ("-m", "mlrun") * (start == TORCHRUN) + (*RUNS[kind], *SHORT)
    ended(started(*words, "hydra.run.dir=whole", start=start))
    ended(started(*words, "hydra.run.dir=broken", start=start, env=jumping_clock))
    assert_same_folder(Path("whole"), Path("broken"))


@faults.wrong_clock
@pytest.mark.parametrize("more", [(), ("sweep.halving=2",), ("hydra.launcher.per_device=2",)])
def test_soak_the_clock_of_a_sweep_jumps(jumping_clock, more):
    ended(started(*SWEEP, *more, "hydra.sweep.dir=whole"))
    process = started(*SWEEP, *more, "hydra.sweep.dir=broken", env=jumping_clock)
    wait_for("broken/*/checkpoints/last.safetensors")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    ended(started("resume", "broken", env=jumping_clock))
    assert_same_folder(Path("whole"), Path("broken"))


# --- other processes ---


PARENTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "torchrun": (TORCHRUN, ("-m", "mlrun", *RUNS["torchrun"], *SHORT), "hydra.run.dir"),
    "per_device": (ALONE, (*SWEEP, "hydra.launcher.per_device=2"), "hydra.sweep.dir"),
}


@faults.stopped_parent
@pytest.mark.parametrize("kind", PARENTS)
def test_soak_a_parent_is_stopped_for_a_while(workdir, record_property, kind):
    chance, tries = random.Random(f"{SEED} stopped {kind}"), 5
    start, words, folder = PARENTS[kind]
    began = time.monotonic()
    ended(started(*words, f"{folder}=whole", start=start))
    length = time.monotonic() - began
    for number in range(tries):
        process = started(*words, f"{folder}=broken{number}", start=start)
        time.sleep(chance.uniform(0, length))
        process.send_signal(signal.SIGSTOP)
        time.sleep(2)
        process.send_signal(signal.SIGCONT)
        ended(process)
        assert_same_folder(Path("whole"), Path(f"broken{number}"))
    record_property("examples", tries)


@faults.same_second
def test_soak_eight_sweeps_start_in_one_folder(workdir):
    processes = [started(*SWEEP) for _ in range(8)]
    for process in processes:
        ended(process)
    first, *others = sorted(Path("outputs").glob("*/*_sweep*"))
    assert len(others) == 7
    for other in others:
        assert_same_folder(first, other)


@faults.same_second
def test_soak_eight_sweeps_want_the_same_name(workdir):
    for process in [started(*SWEEP, "hydra.sweep.dir=mine") for _ in range(8)]:
        ended(process)
    assert len(list(Path().glob("mine*"))) == 8
    for number in range(2, 9):
        assert_same_folder(Path("mine"), Path(f"mine_{number}"))


@faults.second_process
def test_soak_two_resume_a_long_run_at_once(workdir, record_property):
    tries = 5
    ended(started(*LONG, "hydra.run.dir=whole"))
    for number in range(tries):
        name = f"broken{number}"
        process = started(*LONG, f"hydra.run.dir={name}")
        wait_for(f"{name}/checkpoints/last.safetensors")
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        racers = [started("resume", name) for _ in range(2)]
        errors = [racer.communicate(timeout=300)[1] for racer in racers]
        codes = sorted(racer.returncode for racer in racers)
        assert codes == [0, 2] or (codes == [0, 0] and _is_done(name)), errors
        assert_same_folder(Path("whole"), Path(name))
    record_property("examples", tries)


def _is_done(name: str) -> bool:
    return status(Path(name)) == "done"


# --- files that change during the training ---

EDITS = {
    "deleted": None,
    "empty": "",
    "garbage": "\x00{[",
    "another status": '{"format": 1, "status": "done"}',
    "a list": "[]",
}


@faults.edited_record
@pytest.mark.parametrize("edit", EDITS)
def test_soak_run_json_is_edited_while_it_trains(workdir, edit):
    process = started(*LONG, "hydra.run.dir=mine")
    wait_for("mine/checkpoints/last.safetensors")
    file, text = Path("mine/run.json"), EDITS[edit]
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    _, error = process.communicate(timeout=300)
    assert process.returncode in (0, 2), error
    assert "Traceback" not in error
    if process.returncode == 0:
        ended(started(*LONG, "hydra.run.dir=whole"))
        assert_same_folder(Path("whole"), Path("mine"))
        ended(started("show", "mine"))


@faults.data_gone
@pytest.mark.parametrize("what", ["deleted", "replaced", "shortened"])
def test_soak_the_table_changes_while_it_trains(write_csv, what):
    rows = "".join(
        f"{i},{i % 7},{i * 0.37 % 5:.2f},{i % 7 * 2 + i * 0.01:.2f}\n" for i in range(400)
    )
    words = ("task=csv", "data.train=my.csv", "data.target=y", *LONG[1:])
    write_csv("my.csv", "id,a,b,y\n" + rows)
    ended(started(*words, "hydra.run.dir=whole"))
    process = started(*words, "hydra.run.dir=broken")
    wait_for("broken/checkpoints/last.safetensors")
    if what == "deleted":
        Path("my.csv").unlink()
    else:
        write_csv("my.csv", "id,a,b,y\n" + (rows[:900] if what == "shortened" else rows[::-1]))
    ended(process)
    assert_same_folder(Path("whole"), Path("broken"))
