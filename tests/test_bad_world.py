"""A bad world: full disks, deleted folders, wrong clocks, other processes."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlrun.system.seams import Place, listening
from tests import faults
from tests.test_resume import TINY, assert_same_run, started, status


@pytest.fixture
def failing_sync(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`failing_sync(3, 5)`: the disk is full while data is forced to it the 3rd to 5th time."""
    real = os.fsync

    def set_up(first: int, last: int) -> None:
        calls = iter(range(1, 10_000))

        def sync(descriptor: int) -> None:
            if first <= next(calls) <= last:
                raise OSError(28, "No space left on device")
            real(descriptor)

        monkeypatch.setattr("os.fsync", sync)

    return set_up


# A run of six epochs syncs each file and then its folder, 40 times in all.
FAST = (19,)
SYNCS = [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in range(5, 41, 2)]


@faults.disk_full
@pytest.mark.parametrize("number", SYNCS)
@pytest.mark.parametrize("last", [None, pytest.param(9999, marks=pytest.mark.slow)])
def test_a_full_disk_is_reported_and_written_files_stay_intact(
    mlrun, whole, failing_sync, number, last
):
    unbroken = whole(mlrun, *TINY)
    failing_sync(number, last or number)
    answer = mlrun(*TINY, "hydra.run.dir=broken")
    failing_sync(0, 0)
    assert (answer.code, answer.err.count("\n")) == (2, 1), answer
    assert "No space left on device" in answer.err
    assert not list(Path("broken").rglob("*.tmp"))
    resumed = mlrun("resume", "broken")
    if Path("broken/run.json").exists():
        assert_same_run(unbroken, Path("broken"))
        assert "error" not in json.loads(Path("broken/run.json").read_text())
    else:
        assert "ended before its training started; start it again" in resumed.err


@faults.unwritable_place
def test_a_read_only_place_for_runs_is_reported(mlrun, monkeypatch):
    make = Path.mkdir

    def read_only(self: Path, *arguments: Any, **named: Any) -> None:
        if self.parts[:1] == ("outputs",):
            raise OSError(30, "Read-only file system", str(self))
        make(self, *arguments, **named)

    monkeypatch.setattr(Path, "mkdir", read_only)
    Path("my.csv").write_text("a,b\n" + "".join(f"{i},{i % 3}.5\n" for i in range(20)))
    answer = mlrun("task=csv", "data.train=my.csv", "trainer.epochs=1", "quiet=true")
    assert (answer.code, answer.out) == (2, "")
    assert "Read-only file system; see paths.outputs" in answer.err


@faults.deleted_folder
def test_a_folder_deleted_while_the_run_trains_is_reported(mlrun):
    def delete(facts: Any) -> None:
        if facts["epoch"] == 3:
            shutil.rmtree("run")

    with listening(Place.EPOCH_RECORDED, delete):
        answer = mlrun(*TINY, "hydra.run.dir=run")
    gone = "error: run was deleted or moved during the run\n"
    assert (answer.code, answer.err) == (2, gone)
    assert not Path("run").exists()


@faults.wrong_clock
@pytest.mark.slow
def test_a_clock_that_goes_backwards_changes_nothing(mlrun, monkeypatch):
    mlrun(*TINY, "hydra.run.dir=whole")
    hours = itertools.count()
    monkeypatch.setattr(time, "time", lambda: 2e9 - 3600.0 * next(hours))
    limits = ("trainer.max_minutes=1e-9", "hydra.run.dir=broken")
    assert mlrun(*TINY, *limits).code == 0
    assert status(Path("broken")) == "interrupted"
    assert mlrun("resume", "broken", "trainer.max_minutes=10").code == 0
    assert_same_run(Path("whole"), Path("broken"))


@pytest.mark.slow
@faults.same_second
def test_four_real_runs_started_at_once_get_four_folders():
    processes = [started("debug=smoke", "quiet=true") for _ in range(4)]
    answers = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, answers
    folders = {Path(out.strip()) for out, _ in answers}
    assert len(folders) == 4
    assert all(status(folder) == "done" for folder in folders)


TMPFS = """
size=$1; shift
mkdir small && mount -t tmpfs -o size=$size tmpfs small && exec "$@"
"""


@pytest.mark.slow
@faults.disk_full
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs a file system of its own")
def test_a_real_small_disk_that_fills_up_is_reported():
    inside = ["unshare", "--mount", "--map-root-user", "sh", "-c", TMPFS, "sh", "400k"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("may not mount here")
    Path("small").rmdir()
    command = [sys.executable, "-m", "mlrun", "quiet=true", "model.hidden=[300]"]
    limits = ("paths.outputs=small", "trainer.epochs=20", "checkpoint.every_seconds=0")
    done = subprocess.run([*inside, *command, *limits], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, ""), done
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1
