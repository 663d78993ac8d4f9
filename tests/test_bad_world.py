"""A bad world: full disks, deleted folders, wrong clocks, other processes."""

import errno
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlrun.system import locks
from mlrun.system.files import write_atomically
from mlrun.system.seams import Place, listening
from tests import faults
from tests.test_outputs import node
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


# --- streams, environment, names ------------------------------------------------------------


def command(*words: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """`mlrun WORDS` in a process of its own."""
    whole = [sys.executable, "-m", "mlrun", *words]
    return subprocess.run(whole, **{"capture_output": True, "text": True, **how})


def no_byte_more() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


@faults.odd_world
@pytest.mark.parametrize("words", [("--version",), ("ls",), ("--help",)])
def test_a_full_standard_output_is_one_error(words):
    with Path("out").open("wb") as full:
        how = {"capture_output": False, "stdout": full, "stderr": subprocess.PIPE}
        done = command(*words, preexec_fn=no_byte_more, **how)
    reason = "error: cannot write standard output: File too large\n"
    assert (done.returncode, done.stderr) == (2, reason)


@faults.odd_world
@pytest.mark.slow
def test_a_run_goes_on_where_standard_output_is_full():
    with node("full", 7).open("wb") as full:
        how = {"capture_output": False, "stdout": full, "stderr": subprocess.PIPE}
        done = command("debug=smoke", "hydra.run.dir=run", **how)
    reason = "error: cannot write standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, reason)
    assert status(Path("run")) == "done"


@faults.odd_world
@pytest.mark.slow
def test_a_run_goes_on_where_all_streams_are_closed(whole, mlrun):
    words = [sys.executable, "-m", "mlrun", *TINY, "hydra.run.dir=run"]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words])
    assert done.returncode == 0
    epochs = [line.split(",")[0] for line in Path("run/metrics.csv").read_text().splitlines()]
    assert epochs == ["epoch", *map(str, range(1, 7))]
    assert status(Path("run")) == "done"


STREAMS = """
import sys
from mlrun.system.streams import end_streams, prepare_streams
prepare_streams()
print("jä", flush=True)
print("jä", file=sys.stderr)
sys.exit(0 if end_streams() else 3)
"""


@faults.odd_world
def test_letters_that_a_stream_does_not_have_are_escaped(monkeypatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii:strict")
    done = subprocess.run([sys.executable, "-c", STREAMS], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"j\\xe4\n", b"j\\xe4\n")


@faults.odd_world
def test_what_is_printed_on_closed_streams_lands_in_no_file():
    script = STREAMS.replace("print", "open('new', 'w').close()\nprint", 1)
    words = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-c", script]
    assert subprocess.run(words).returncode == 0
    assert Path("new").stat().st_size == 0


@faults.odd_world
@pytest.mark.slow
def test_a_full_standard_error_is_no_error():
    with Path("error").open("wb") as full:
        how = {"capture_output": False, "stdout": subprocess.PIPE, "stderr": full}
        done = command("predict", "nothing", preexec_fn=no_byte_more, **how)
    assert (done.returncode, done.stdout) == (2, "")


@faults.odd_world
@pytest.mark.parametrize(
    "backend",
    ["garbage", *(pytest.param(b, marks=pytest.mark.slow) for b in ("module://no", "agg", ""))],
)
@pytest.mark.slow
def test_pictures_need_no_backend(backend):
    script = "import mlrun.report.plots as p; p._save(p.Figure(), p.Path('x/y.png'))"
    environment = {**os.environ, "MPLBACKEND": backend, "MPLCONFIGDIR": os.path.abspath("mpl")}  # noqa: PTH100
    words = [sys.executable, "-c", script]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert Path("x/y.png").read_bytes().startswith(b"\x89PNG")


@faults.odd_world
def test_a_picture_that_cannot_be_drawn_is_a_warning(workdir, monkeypatch, caplog):
    from mlrun.report.plots import draw_curve

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("latex could not be found")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    row = {"epoch": 1, "train/loss": 1.0, "valid/loss": 1.0}
    draw_curve(Path("plots"), [row], 1, title="x")
    assert "cannot draw learning_curve.png: latex could not be found" in caplog.text


@pytest.fixture
def _homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither HOME nor an entry in /etc/passwd, as in a container with `--user 12345`."""

    def unknown(_: int) -> None:
        raise KeyError("getpwuid(): uid not found: 12345")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)


@faults.odd_world
@pytest.mark.usefixtures("_homeless")
@pytest.mark.slow
def test_a_home_folder_is_not_needed(mlrun, write_csv):
    write_csv("my.csv", TABLE)
    run = mlrun("task=csv", "data.train=my.csv", "debug=smoke", "quiet=true").run
    assert mlrun("predict", str(run), "--input", "my.csv").code == 0
    answer = mlrun("predict", str(run), "--input", "~/my.csv")
    reason = "error: ~/my.csv: no home folder is known; write the whole path\n"
    assert (answer.code, answer.err) == (2, reason)
    assert not Path("~").exists()


TABLE = "a,größe 😀,y\n" + "".join(
    f"{i},{'röt' if i % 2 else 'blau'},{i % 3}.5\n" for i in range(40)
)


@faults.odd_world
@pytest.mark.parametrize("name", ["a b", "it's", 'q"q', "{x} ${y}", "100%", "a,b=c", "new\nline"])
@pytest.mark.slow
def test_a_folder_may_have_any_name(mlrun, write_csv, monkeypatch, name):
    Path(name).mkdir()
    monkeypatch.chdir(name)
    write_csv(f"{name}/my.csv", TABLE)
    write_csv(f"{name}/{name}.csv", TABLE)
    words = (
        "task=csv",
        "data.train=my.csv",
        "trainer.epochs=1",
        "scheduler=constant",
        "quiet=true",
    )
    answer = mlrun(*words, "hydra.run.dir=run")
    assert (answer.code, answer.out, answer.err) == (0, "run\n", "")
    run = str(Path("run").resolve())
    assert mlrun("predict", run, "--input", f"{name}.csv", "--output", f"out {name}").code == 0
    assert Path(f"out {name}").is_file()
    assert mlrun("resume", run, "trainer.epochs=2").code == 0
    assert mlrun("evaluate", run).code == 0


@faults.odd_world
def test_a_name_that_is_no_text_is_refused(mlrun, monkeypatch):
    answer = mlrun("task=csv", "data.train=\udcff.csv")
    reason = "data.train=\\udcff.csv: not text in utf-8; rename it, or set LC_ALL=C.UTF-8"
    assert (answer.code, answer.err) == (2, f"error: {reason}\n")
    Path(os.fsdecode(b"\xff")).mkdir()
    monkeypatch.chdir(os.fsdecode(b"\xff"))
    answer = mlrun("debug=smoke")
    assert (answer.code, answer.err.count("\n"), "not text in utf-8" in answer.err) == (2, 1, True)


REPORTING = """
import mlrun.cli.main as cli
from mlrun.system.signals import Stop

def main(_):
    raise Stop(15)

cli.main = main
cli.entry_point()
"""


@faults.odd_world
def test_a_signal_while_an_error_is_reported_causes_no_traceback():
    done = subprocess.run([sys.executable, "-c", REPORTING], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


@faults.odd_world
def test_a_current_folder_that_was_deleted_is_said(mlrun, monkeypatch):
    Path("gone").mkdir()
    monkeypatch.chdir("gone")
    Path("../gone").rmdir()
    answer = mlrun("ls")
    reason = "error: the current folder was deleted; change to another one\n"
    assert (answer.code, answer.err) == (2, reason)


def sixteen_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))


@faults.odd_world
@pytest.mark.slow
def test_sixteen_open_files_are_enough(write_csv):
    write_csv("my.csv", TABLE)
    words = ("task=csv", "data.train=my.csv", "trainer.epochs=2", "quiet=true")
    done = command(*words, "hydra.run.dir=run", preexec_fn=sixteen_files)
    assert (done.returncode, done.stdout, done.stderr) == (0, "run\n", "")
    done = command("predict", "run", "--input", "my.csv", preexec_fn=sixteen_files)
    assert (done.returncode, done.stdout, done.stderr) == (0, "run/pred_my.csv\n", "")
    done = command(*words, "seeds=20", preexec_fn=sixteen_files)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done
    assert "Too many open files" in done.stderr


# --- folders without fsync or locks ---------------------------------------------------------


@pytest.fixture
def poor_folders(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """`poor_folders()`: from now on, no folder has fsync and locks."""

    def missing(*_: Any) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    def set_up() -> None:
        monkeypatch.setattr("os.fsync", missing)
        monkeypatch.setattr("fcntl.flock", missing)
        locks._say_once.cache_clear()  # it was not said in this process

    yield set_up
    locks._say_once.cache_clear()


@faults.poor_folder
@pytest.mark.slow
def test_a_folder_without_fsync_and_locks_is_said_once(mlrun, whole, poor_folders):
    unbroken = whole(mlrun, *TINY)
    poor_folders()
    answer = mlrun(*[word for word in TINY if word != "quiet=true"], "hydra.run.dir=run")
    assert answer.code == 0
    assert answer.out.count("a crash of the machine may lose the last seconds") == 1
    assert answer.out.count("mlrun does not notice if two processes work in it") == 1
    assert_same_run(unbroken, Path("run"))
    answer = mlrun("predict", "run", "--output", "p.csv")
    assert (answer.code, answer.err) == (0, "")


@faults.poor_folder
def test_leftovers_are_removed_after_a_day_where_nothing_is_locked(poor_folders):
    poor_folders()
    young, old = Path(".a.0.mlrun.tmp"), Path(".b.0.mlrun.tmp")
    young.touch()
    old.touch()
    os.utime(old, (0, 0))
    write_atomically(Path("x"), b"")
    assert {path.name for path in Path().iterdir()} == {young.name, "x"}
