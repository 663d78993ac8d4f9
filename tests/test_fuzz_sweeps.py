"""Damaged sweep folders: success, or one error line; nothing outside is read or written.

The sweeps are as small as they can be, and everything in them that changes is changed as bytes, as
JSON, or by another thing in its place. Next to the sweep is a folder that stays as it is.
"""

import contextlib
import csv
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from mlrun.sweeps.journal import Journal
from tests import faults
from tests.fuzzing import Ended, Share, check_no_leftovers, command, shares
from tests.mutations import edited, edits, json_changes, with_changes
from tests.test_foreign_sweeps import content, waiting
from tests.test_fuzz_runs import price, write_table

Made = Callable[[str], Path]
SMALL = ("task=csv", "model=linear", "trainer.epochs=1", "quiet=true")
SEARCH = ("hydra/sweeper=optuna", "hydra.sweeper.n_trials=3", "hydra.sweeper.sampler=random")
SWEEPS = {
    "grid": ("seed=0,1", "optimizer.lr=0.1,0.2"),
    "halving": ("sweep.halving=2", "optimizer.lr=0.1,0.2,0.3", "trainer.epochs=3"),
    "search": (*SEARCH, "optimizer.lr=interval(0.01,0.1)"),
}
FILES = ("sweep.json", "journal.jsonl", "journal.jsonl", "0/run.json", "1/run.json", "summary.csv")
PLACES = (
    *("sweep.json", "journal.jsonl", "summary.csv", "report.html", ".lock", ".journal.lock"),
    *("0", "1", "0/run.json", "1/run.json", "1/checkpoints", "0/config.yaml", "0/metrics.csv"),
    *("1/checkpoints/last.safetensors", "1/split.json", "0/pred.csv", ".sweep.lock", "table.csv"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a finished sweep of a kind; but for the grid, trained when it is asked for."""
    folder = tmp_path_factory.mktemp("sweeps")

    @cache
    def sweep(kind: str) -> Path:
        with contextlib.chdir(folder):
            write_table("t.csv", price)
            words = (*SMALL, f"data.train={folder}/t.csv", *SWEEPS[kind])
            assert command("-m", *words, f"hydra.sweep.dir={kind}").code == 0
        return folder / kind

    assert sweep("grid").is_dir()
    return sweep


# --- damage ---


def change_lines(sweep: Path, name: str, these: list[Any]) -> None:
    """Change values within one line of a file of JSON."""
    file, (at, changes) = sweep / name, these
    if not file.is_file():
        return
    lines = file.read_text(errors="replace").splitlines() if name.endswith("jsonl") else []
    if not lines:
        file.write_text(with_changes(file.read_text(errors="replace"), changes))
        return
    lines[at % len(lines)] = with_changes(lines[at % len(lines)], changes)
    file.write_text("\n".join(lines) + "\n")


def change_bytes(sweep: Path, name: str, these: list[Any]) -> None:
    file = sweep / name
    if file.is_file():
        file.write_bytes(edited(file.read_bytes(), these))


def replace(sweep: Path, name: str, what: str) -> None:
    """Put something else in the place of a file or a folder; its parent may be gone."""
    file = sweep / name
    if not file.parent.is_dir():
        return
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)
    if what == "folder":
        file.mkdir()
    elif what == "file":
        file.write_bytes(b"a file")
    elif what == "link":
        file.symlink_to(Path("outside").resolve())
    elif what == "link to a file":
        file.symlink_to(Path("outside/pred.csv").resolve())
    elif what == "nowhere":
        file.symlink_to("nowhere")
    elif what == "pipe":
        os.mkfifo(file)
    elif what == "second name":
        file.hardlink_to("outside/pred.csv")


THINGS = ("gone", "gone", "folder", "file", "link", "link to a file", "nowhere", "pipe")
damages = st.one_of(
    st.tuples(
        st.just(change_lines),
        st.sampled_from(FILES[:-1]),
        st.tuples(st.integers(0, 9), json_changes),
    ),
    st.tuples(st.just(change_bytes), st.sampled_from(FILES), edits),
    st.tuples(st.just(replace), st.sampled_from(PLACES), st.sampled_from((*THINGS, "second name"))),
)
damages = st.lists(damages, min_size=1, max_size=2)

# --- what must hold ---


@contextlib.contextmanager
def damaged(sweep: Path, left: int, these: list[Any]) -> Any:
    """A copy of a sweep in a folder of its own, whose jobs from `left` on wait; damaged."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("outside").mkdir()
        Path("outside/pred.csv").write_text("mine")
        Path("outside/run.json").write_text("{}")
        shutil.copytree(sweep, "sweep")
        if left < 4:
            waiting(Path("sweep"), left)
        for damage, name, change in these:
            damage(Path("sweep"), name, change)
        before = content(Path("outside"))
        yield
        assert content(Path("outside")) == before
        assert {path.name for path in Path().iterdir()} <= {"outside", "sweep"}
        check_no_leftovers(Path())


def check_shown(ended: Ended) -> None:
    """What is shown has a status, and the jobs that the journal has."""
    if ended.code:
        return
    jobs = Journal(Path("sweep")).read()
    status = next(line for line in ended.out.splitlines() if line.startswith("status "))
    numbers = [int(word) for word in status.rpartition(": ")[2].split() if word.isdecimal()]
    assert sum(numbers) == len(jobs), ended.out


def is_endless() -> bool:
    """Whether epochs or trials are asked for that take their time, which is no damage."""
    files = [
        file for file in map(Path, ("sweep/sweep.json", "sweep/journal.jsonl")) if is_own(file)
    ]
    many = re.compile(rb'"(epochs|trials)": ?\d{4}')
    return any(many.search(file.read_bytes()) for file in files)


def is_own(file: Path) -> bool:
    return file.is_file() and not file.is_symlink()


def check_resumed(ended: Ended) -> None:
    """A sweep that went on to its end has a line for each job."""
    if ended.code == 2 or not Path("sweep/sweep.json").is_file():  # a folder of runs
        return
    jobs = Journal(Path("sweep")).read()
    record = json.loads(Path("sweep/sweep.json").read_text())
    assert record["status"] == "done"
    assert {entry.status for entry in jobs.values()} <= {"done", "failed", "stopped"}
    with Path("sweep/summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["job"]) for row in rows] == [*jobs]
    assert [row["status"] for row in rows] == [entry.status for entry in jobs.values()]


def kinds(share: Share) -> st.SearchStrategy[str]:
    """Which sweeps to damage: to train one of each takes too long for the fast tests."""
    return st.sampled_from((*SWEEPS,) if share.soak else ("grid",))


@faults.random_sweep
@shares(fast=10, soak=4000, parts=2)
def test_any_sweep_folder_is_shown_or_refused(
    share: Share, record_property: Any, made: Made
) -> None:
    def check(example: tuple[str, list[Any], str]) -> None:
        kind, these, place = example
        with damaged(made(kind), 4, these):
            before = content(Path())
            ended = command("show", place)
            if place == "sweep":
                check_shown(ended)
            assert content(Path()) == before

    strategy = st.tuples(
        kinds(share), damages, st.sampled_from(("sweep", "sweep", "sweep", "sweep/1"))
    )
    record_property("examples", share.of(strategy, check))


@faults.random_sweep
@shares(fast=3, soak=1500, parts=4)
def test_any_sweep_folder_is_resumed_or_refused(
    share: Share, record_property: Any, made: Made
) -> None:
    def check(example: tuple[str, int, list[Any], tuple[str, ...]]) -> None:
        kind, left, these, more = example
        with damaged(made(kind), left, these):
            if not is_endless():
                check_resumed(command("resume", "sweep", *more))

    words = st.sampled_from(((), (), ("--failed",), ("--data", ".")))
    strategy = st.tuples(kinds(share), st.integers(0, 4), damages, words)
    record_property("examples", share.of(strategy, check))
