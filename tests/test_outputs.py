"""--output: files, links, pipes, devices, standard output; what killed writers leave."""

import json
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mlrun.system.files import write_atomically
from mlrun.system.locks import temporary_folder
from tests import faults
from tests.test_cli import SMOKE
from tests.test_resume import started


@pytest.fixture
def run(finished):
    return finished("run", *SMOKE)


@pytest.fixture
def csv(run):
    """The predictions of the run."""
    return (run / "pred.csv").read_text()


def node(name: str, minor: int) -> Path:
    """A device of our own: 3 discards, 7 is always full."""
    try:
        os.mknod(name, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        Path(name).open("wb").close()
    except OSError:
        pytest.skip("may not make devices here")
    return Path(name)


@contextmanager
def limited(kind: int, value: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


# --- what is no file ------------------------------------------------------------------------


@faults.odd_output
@pytest.mark.slow
def test_a_pipe_is_written_to(mlrun, csv):
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDWR | os.O_NONBLOCK)
    answer = mlrun("predict", "run", "--output", "pipe")
    assert (answer.code, answer.out, answer.err) == (0, "pipe\n", "")
    assert Path("pipe").is_fifo()
    assert os.read(reader, 2**16).decode() == csv
    os.close(reader)


@faults.odd_output
def test_a_device_is_written_to_and_stays_one(mlrun, run):
    null = node("null", 3)
    assert mlrun("predict", "run", "--output", "null").code == 0
    assert null.is_char_device()
    assert null.stat().st_rdev == os.makedev(1, 3)


@faults.odd_output
@pytest.mark.parametrize("output", ["pipe", "null", "-"])
def test_an_export_to_what_is_no_file_is_refused(mlrun, run, output):
    os.mkfifo("pipe")
    if output == "null":
        node("null", 3)
    before = sorted(Path().iterdir())
    answer = mlrun("export", "run", "--format", "safetensors", "--output", output)
    assert answer.code == 2
    assert answer.err == f"error: --output {output}: an export needs a file\n"
    assert sorted(Path().iterdir()) == before


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("folder", "cannot write folder: Is a directory; see --output"),
        ("", "cannot write .: Is a directory; see --output"),
        ("loop", "cannot write loop: Too many levels of symbolic links; see --output"),
        ("no/such.csv", "cannot write no/such.csv: No such file or directory; see --output"),
        ("my.csv/x.csv", "cannot write my.csv/x.csv: Not a directory; see --output"),
    ],
)
@pytest.mark.parametrize("verb", [("predict", "run"), ("export", "run", "--format", "safetensors")])
def test_what_cannot_be_written_is_said_in_one_line(mlrun, run, write_csv, verb, output, reason):
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    write_csv("my.csv", "a,b\n")
    answer = mlrun(*verb, "--output", output)
    assert (answer.code, answer.out, answer.err) == (2, "", f"error: {reason}\n")
    assert Path("loop").is_symlink()
    assert Path("my.csv").read_text() == "a,b\n"


@faults.odd_output
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_a_link_and_its_file_is_replaced(mlrun, csv, there):
    Path("folder").mkdir()
    Path("link.csv").symlink_to("folder/p.csv")
    if there:
        Path("folder/p.csv").write_text("old")
    assert mlrun("predict", "run", "--output", "link.csv").out == "link.csv\n"
    assert Path("link.csv").is_symlink()
    assert Path("folder/p.csv").read_text() == csv
    assert [path.name for path in Path("folder").iterdir()] == ["p.csv"]


def test_an_export_through_a_link_replaces_its_file(mlrun, run):
    Path("m.st").write_text("old")
    Path("link.st").symlink_to("m.st")
    answer = mlrun("export", "run", "--format", "safetensors", "--output", "link.st")
    assert answer.code == 0
    assert Path("link.st").is_symlink()
    assert Path("m.st").stat().st_size > 1000


def test_a_name_may_have_as_many_letters_as_the_system_allows(mlrun, csv):
    name = "x" * 251 + ".csv"
    assert mlrun("predict", "run", "--output", name).code == 0
    assert Path(name).read_text() == csv


# --- standard output ------------------------------------------------------------------------


def test_a_dash_is_standard_output_and_nothing_else_is_printed_there(mlrun, csv):
    answer = mlrun("predict", "run", "--output", "-")
    assert (answer.code, answer.out, answer.err) == (0, csv, "")
    assert not Path("-").exists()


def test_messages_go_to_standard_error_then(mlrun, run, write_csv):
    record = json.loads((run / "run.json").read_text())
    lines = Path(record["data"][0]["path"]).read_text().splitlines()
    write_csv("new.csv", "\n".join([f"{lines[0]},more", *(f"{line},1" for line in lines[1:4])]))
    answer = mlrun("predict", "run", "--input", "new.csv", "--output", "-")
    assert answer.code == 0
    assert answer.out.startswith("id,")
    assert len(answer.out.splitlines()) == 4
    assert "'more'" in answer.err


@faults.odd_output
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_link_to_standard_output_is_not_replaced(mlrun, csv):
    Path("out").symlink_to("/proc/self/fd/1")
    answer = mlrun("predict", "run", "--output", "out")
    assert (answer.code, answer.out, answer.err) == (0, csv, "")
    assert Path("out").is_symlink()


@pytest.mark.slow
def test_a_full_or_closed_standard_output_is_one_error_where_it_is_the_output(run):
    word = [sys.executable, "-m", "mlrun", "predict", "run", "--output", "-"]
    with node("full", 7).open("wb") as full:
        done = subprocess.run(word, stdout=full, stderr=subprocess.PIPE, text=True)
    full_error = "error: cannot write standard output: No space left on device; see --output\n"
    assert (done.returncode, done.stderr) == (2, full_error)
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *word]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True)
    closed_error = "error: cannot write standard output: Bad file descriptor; see --output\n"
    assert (done.returncode, done.stderr) == (2, closed_error)


@faults.no_reader
@pytest.mark.slow
def test_a_reader_of_the_predictions_may_stop(run):
    process = started("predict", "run", "--output", "-")
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (1, "")


# --- old files and leftovers ----------------------------------------------------------------


@faults.disk_full
@pytest.mark.parametrize("verb", [("predict", "run"), ("export", "run", "--format", "safetensors")])
def test_a_file_that_cannot_be_completed_leaves_the_old_one(mlrun, run, verb):
    Path("out").mkdir()
    Path("out/p").write_text("old")
    with limited(resource.RLIMIT_FSIZE, 1000):
        answer = mlrun(*verb, "--output", "out/p")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: cannot write out/p: File too large; see --output\n"
    assert [path.name for path in Path("out").iterdir()] == ["p"]
    assert Path("out/p").read_text() == "old"


WRITER = """
import os, signal, sys, time
from pathlib import Path
from mlrun.system.files import replaced
from mlrun.system.locks import temporary_folder
from mlrun.system.signals import stop_on_signals

what, then = sys.argv[1:]
stop_on_signals()
try:
    with replaced(Path("out/p")) if what == "file" else temporary_folder(Path("out")) as made:
        if what == "file":
            made.write(b"new")
            made.flush()
        else:
            (made / "inside").write_text("new")
        print("written", flush=True)
        if then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        sys.stdin.readline()
except KeyboardInterrupt as error:
    sys.exit(128 + error.number)
"""


def writer(what: str, then: str) -> subprocess.Popen[str]:
    """Another process that writes out/p, or a folder in out/, and has not yet finished."""
    Path("out").mkdir(exist_ok=True)
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", WRITER, what, then], **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    return process


def written_beside(what: str) -> None:
    if what == "file":
        write_atomically(Path("out/q"), b"")
    else:
        with temporary_folder(Path("out")):
            pass


@faults.leftovers
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_a_killed_writer_leaves_is_removed_by_the_next_one(workdir, what):
    with writer(what, "die") as process:
        process.communicate()
    assert len([*Path("out").iterdir()]) == 1
    written_beside(what)
    assert not [path for path in Path("out").iterdir() if path.name != "q"]


@faults.leftovers
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_a_living_writer_has_begun_stays(workdir, what):
    with writer(what, "wait") as process:
        before = {*Path("out").iterdir()}
        written_beside(what)
        assert {*Path("out").iterdir()} - {Path("out/q")} == before
        process.communicate("\n")
    names = {"p", "q"} if what == "file" else set()
    assert {path.name for path in Path("out").iterdir()} == names


@faults.interrupted_writer
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_in_the_middle_of_writing_leaves_the_old_file(workdir, number):
    Path("out").mkdir()
    Path("out/p").write_text("old")
    with writer("file", "wait") as process:
        process.send_signal(number)
        process.communicate()
    assert process.returncode == 128 + number
    assert [path.name for path in Path("out").iterdir()] == ["p"]
    assert Path("out/p").read_text() == "old"


def test_files_of_other_programs_stay(workdir):
    names = [".p.csv.123.tmp", ".mlrun.tmp.csv", "p.csv.0123abcd.tmp"]
    for name in names:
        Path(name).touch()
    names += [".a.mlrun.tmp", ".b.mlrun.tmp"]
    Path(names[-2]).symlink_to(names[0])
    Path(names[-1]).mkdir()  # anybody may have moved it there
    write_atomically(Path("q"), b"")
    assert {path.name for path in Path().iterdir()} == {*names, "q"}


@faults.leftovers
@pytest.mark.slow
@pytest.mark.parametrize("verb", [("predict", "run"), ("export", "run", "--format", "safetensors")])
def test_a_command_that_was_killed_leaves_nothing_once_the_next_one_ran(mlrun, run, verb):
    Path("out").mkdir()
    Path("out/p").write_text("old")
    die_at = str(Path(__file__).with_name("die_at.py"))
    command = [sys.executable, die_at, "output-before-rename", "1", "--", *verb]
    done = subprocess.run([*command, "--output", "out/p"], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done
    assert Path("out/p").read_text() == "old"
    assert len([*Path("out").iterdir()]) == 2
    assert mlrun("predict", "run", "--output", "out/q").code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["p", "q"]


@faults.interrupted_writer
@pytest.mark.slow
def test_a_signal_stops_a_prediction_with_its_own_exit_code(run):
    os.mkfifo("pipe")  # nobody reads it, so the command waits
    process = started("predict", "run", "--output", "pipe")
    with pytest.raises(subprocess.TimeoutExpired):
        process.communicate(timeout=15)
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error) == (143, "", "")
