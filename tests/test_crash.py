"""Killed by SIGKILL at chosen and at random moments: resume ends with the same bits, always.

docs/reliability.md lists the faults. CRASH_SEED=N draws other random moments.
"""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.test_resume import (
    JOBS,
    TINY,
    assert_same_run,
    damage,
    history,
    started,
    status,
    wait_for,
)

pytestmark = pytest.mark.sample  # other processes train, on samples of full size
DIE_AT = Path(__file__).with_name("die_at.py")
SEED = os.environ.get("CRASH_SEED", "0")
SAME = "`mlrun resume` ends with the same bits as an uninterrupted run"


def assert_ended_like(whole: Path, broken: Path) -> None:
    """The same bits and status, nothing twice, nothing left lying about."""
    assert_same_run(whole, broken)
    assert status(broken) == "done"
    assert [str(file) for file in broken.rglob("*.tmp")] == []
    epochs = [int(line.split(",")[0]) for line in history(broken)[1:]]
    assert epochs == list(range(1, len(epochs) + 1))
    events = EventAccumulator(str(broken / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("Loss/train")] == epochs


# --- killed at a chosen point ---


def die_at(point: str, *arguments: str) -> None:
    """Run the command in a process of its own; it dies at `point`, "name:how many times"."""
    name, _, times = point.partition(":")
    command = [sys.executable, str(DIE_AT), name, times or "1", "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, (point, done)


# Fault: each a way to get there. "NAME:3" dies the third time that point of die_at.py is reached;
# what follows a " > " is where the resumed run dies in its turn; "JOB@" chooses the job.
CHOSEN = {
    "kill -9 before the first epoch": [
        "run.json-renamed",
        "before-training",
        "before-an-epoch",
        "half-of-the-first-metrics.csv",
    ],
    "kill -9 within an epoch": [
        "before-an-epoch:4",
        "mnist_cnn@between-gradient-and-step:10",
        "covid@before-the-kernels-numbers-are-torchs:4",
        "covid@some-of-the-kernels-numbers-are-torchs:9",
        "while-validating:3",
    ],
    "kill -9 while mlrun writes metrics.csv or the TensorBoard file": [
        "half-a-row-of-metrics.csv:3",
        "half-a-tensorboard-event:5",
        "between-metrics-and-checkpoint",
        "between-metrics-and-checkpoint:4",
    ],
    "kill -9 while mlrun writes best.safetensors": [
        "half-of-best",
        "half-of-best:3",
        "best-not-synced:3",
        "best-before-rename:3",
        "best-renamed:3",
    ],
    "kill -9 while mlrun writes last.safetensors": [
        "half-of-last",
        "half-of-last:3",
        "last-not-synced:3",
        "last-before-it-is-previous:2",
        "last-missing:2",
        "last-renamed:3",
        "last-renamed:6",
    ],
    "kill -9 while mlrun writes run.json": [
        "half-of-run.json:2",
        "run.json-not-synced:2",
    ],
    "kill -9 between training and the end": [
        "before-scoring",
        "half-of-pred.csv",
        "pred.csv-renamed",
        "while-drawing",
        "half-a-picture",
        "half-a-picture:2",
    ],
    "another kill -9 during resume": [
        "last-renamed:3 > half-of-run.json",
        "last-renamed:3 > before-the-state-is-restored",
        "last-renamed:3 > state-restored",
        "last-renamed:3 > half-of-the-first-metrics.csv",
        "last-renamed:3 > old-events-removed",
        "last-missing:2 > last-missing",
        "last-missing:2 > half-of-last > last-renamed > while-drawing",
    ],
}
FAST: tuple[str, ...] = ()  # all of them: make soak


def chosen() -> Iterator[object]:
    jobs = itertools.cycle(("phone_price", "covid", "mnist_cnn"))
    for fault, ways in CHOSEN.items():
        for way in ways:
            marks = [pytest.mark.fault(fault, SAME)]
            marks += [] if way in FAST else [pytest.mark.slow]
            job = "phone_price" if way in FAST else next(jobs)
            job, _, way = way.rpartition("@") if "@" in way else (job, "", way)
            yield pytest.param(job, way, marks=marks, id=f"{job}-{way}")


@pytest.mark.parametrize(("job", "way"), list(chosen()))
def test_a_run_killed_at_a_chosen_point_resumes_to_the_same_bits(mlrun, whole, job, way):
    expected = whole(mlrun, *JOBS[job], *TINY)
    first, *again = way.split(" > ")
    die_at(first, *JOBS[job], *TINY, "hydra.run.dir=broken")
    for point in again:
        die_at(point, "resume", "broken")
    assert status(Path("broken")) == "running"
    assert mlrun("resume", "broken").code == 0
    assert_ended_like(expected, Path("broken"))


@pytest.mark.slow
@pytest.mark.fault("last.safetensors damaged, then kill -9 while mlrun writes the next one", SAME)
@pytest.mark.parametrize("point", ["half-of-last", "last-missing", "last-renamed"])
def test_a_damaged_checkpoint_never_replaces_the_good_one_before_it(mlrun, whole, point):
    die_at("last-renamed:3", *JOBS["covid"], *TINY, "hydra.run.dir=broken")
    damage(Path("broken/checkpoints/last.safetensors"), "truncated")
    die_at(point, "resume", "broken")
    assert mlrun("resume", "broken").code == 0
    assert_ended_like(whole(mlrun, *JOBS["covid"], *TINY), Path("broken"))


@pytest.mark.slow
@pytest.mark.fault("kill -9 before run.json exists", "`mlrun resume` reports it in one line")
@pytest.mark.parametrize(
    "point",
    ["before-config.yaml", "after-config.yaml", "before-run.json", "half-of-run.json"],
)
def test_a_run_killed_before_it_began_is_reported_in_one_line(mlrun, point):
    die_at(point, *TINY, "hydra.run.dir=broken")
    answer = mlrun("resume", "broken")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == (
        "error: broken: the run ended before its training started; start it again\n"
    )


# --- killed at a random moment ---

RANDOM = {
    "covid": ("trainer.epochs=60", "trainer.patience=null", "checkpoint.every_seconds=0"),
    "phone_price": ("trainer.epochs=60", "trainer.patience=null", "checkpoint.every_seconds=0.2"),
    "mnist_cnn": ("trainer.epochs=12", "checkpoint.every_seconds=0"),
}
KILLS = (1, 1, 2, 1, 1, 3, 1, 1, 2, 1)  # in a row, by test


def kill_after(seconds: float, metrics: Path, *arguments: str) -> None:
    """Start the command and kill it so long after it has begun to train, if it still runs."""
    before = _written(metrics)
    process = started(*arguments)
    wait_for(process, lambda: _written(metrics) != before or process.poll() is not None)
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
    _, error = process.communicate()
    assert process.returncode in (0, -signal.SIGKILL), error


def _written(metrics: Path) -> int:
    return metrics.stat().st_mtime_ns if metrics.is_file() else 0


def seconds_of_training(run: Path) -> float:
    """From the first line of metrics.csv to the last picture."""
    spent = json.loads((run / "run.json").read_text())["seconds"]
    return float(spent["fit"] + spent["conclude"])


@pytest.mark.slow
@pytest.mark.fault("kill -9 at a random moment, up to three times in a row", SAME)
@pytest.mark.parametrize("number", range(len(KILLS)))
@pytest.mark.parametrize("job", RANDOM)
def test_a_run_killed_at_random_moments_resumes_to_the_same_bits(mlrun, whole, job, number):
    arguments = (*JOBS[job], *RANDOM[job], "quiet=true")
    expected = whole(mlrun, *arguments)
    length = seconds_of_training(expected)
    chance = random.Random(f"{SEED} {job} {number}")
    for attempt in range(10):  # a first kill that comes too late is tried again, at another moment
        broken = Path(f"broken{attempt}")
        moments = sorted(chance.uniform(0, length) for _ in range(KILLS[number]))
        kill_after(moments[0], broken / "metrics.csv", *arguments, f"hydra.run.dir={broken}")
        if status(broken) != "done":
            break
    assert status(broken) != "done"
    for earlier, later in itertools.pairwise(moments):
        kill_after(later - earlier, broken / "metrics.csv", "resume", str(broken))
    answer = mlrun("resume", str(broken))
    print(f"CRASH_SEED={SEED}: killed at {moments} of {length:.2f} s")  # noqa: T201
    assert answer.code == 0, answer.err
    assert_ended_like(expected, broken)
