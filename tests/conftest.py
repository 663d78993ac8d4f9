"""Fixtures: an empty working folder, the command line in process, small files."""

import contextlib
import gc
import gzip
import logging
import shutil
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlrun.cli.main import main

pytest_plugins = ["tests.reliability", "tests.shares"]

WHOLE_SAMPLE: dict[str, tuple[int, int]] = {}
SMALL_SAMPLE = {"covid": (300, 90), "phone_price": (300, 90), "mnist": (200, 60)}


def pytest_configure(config: pytest.Config) -> None:
    """Prepare a process that runs tests; the one that only starts the workers imports nothing."""
    if config.getoption("numprocesses", None):
        return
    import torch

    import_module("mlrun.runs.single")  # and with it all that a run imports
    # What is imported stays, and looking through it for garbage again and again takes a fifth.
    gc.freeze()
    gc.set_threshold(100_000)
    if hasattr(signal, "SIGHUP"):  # nohup ignores it, and so would all that tests start
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    torch.set_num_threads(1)  # there is a worker on every core
    # Small stand-ins train faster. Fixtures of every scope see them; the marker `sample` does not.
    from mlrun.data import sample

    WHOLE_SAMPLE.update(sample.ROWS)
    sample.ROWS.update(SMALL_SAMPLE)


@pytest.fixture(autouse=True)
def _no_handlers_left() -> Iterator[None]:
    """Hydra sets up logging for a whole process; its handlers write to streams of the test."""
    before, level = [*logging.root.handlers], logging.root.level
    yield
    for handler in [one for one in logging.root.handlers if one not in before]:
        logging.root.removeHandler(handler)
    logging.root.setLevel(level)


@pytest.fixture(autouse=True)
def _no_workers_left() -> Iterator[None]:
    """Joblib keeps its processes, which stay in the folder and the environment of this test."""
    yield
    loky = sys.modules.get("joblib.externals.loky.reusable_executor")
    if loky and loky._executor:
        loky._executor.shutdown(wait=True)


@pytest.fixture(autouse=True)
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in an empty folder of its own, with no data folder named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLRUN_DATA", raising=False)
    return tmp_path


@pytest.fixture(autouse=True)
def _pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture takes as long as all else of a small run: only tests marked `draws` draw them."""

    def empty(*_: Any, **__: Any) -> None:
        """Draw nothing: the picture is an empty file."""

    if "draws" not in request.keywords:
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", empty)


@pytest.fixture(autouse=True)
def _whole_sample(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests marked `sample` see the stand-ins as users and other processes do."""
    if "sample" in request.keywords:
        monkeypatch.setattr("mlrun.data.sample.ROWS", WHOLE_SAMPLE)


@dataclass(frozen=True)
class Answer:
    """What a command line gave."""

    code: int
    out: str
    err: str

    @property
    def run(self) -> Path:
        """The run folder, as `quiet=true` prints it."""
        return Path(self.out.strip().splitlines()[-1])


@pytest.fixture
def mlrun(capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """`mlrun("task=covid", ...)`, in this process."""

    def call(*arguments: str) -> Answer:
        capfd.readouterr()
        code = main(arguments)
        out, err = capfd.readouterr()
        return Answer(code, out, err)

    return call


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`whole(mlrun, "task=covid", ...)`: a finished run, trained once for all tests; only read it.

    With `-m` it is a finished sweep. A run on the full-size sample is another run.
    """
    from mlrun.data import sample

    made: dict[tuple[str, ...], Path] = {}

    def run(mlrun: Callable[..., Answer], *arguments: str) -> Path:
        key = (*arguments, str(sample.ROWS))
        if key not in made:
            folder = tmp_path_factory.mktemp("whole")
            kind = "sweep" if "-m" in arguments else "run"
            with contextlib.chdir(folder):  # where its data stays
                assert mlrun(*arguments, f"hydra.{kind}.dir=run").code == 0
            made[key] = folder / "run"
        return made[key]

    return run


@pytest.fixture
def finished(
    whole: Callable[..., Path], mlrun: Callable[..., Answer], workdir: Path
) -> Callable[..., Path]:
    """`finished("run", "task=covid", ...)`: a copy of such a run or sweep, to change."""

    def copy(name: str, *arguments: str) -> Path:
        shutil.copytree(whole(mlrun, *arguments), workdir / name)
        return Path(name)

    return copy


@pytest.fixture
def write_csv(workdir: Path) -> Callable[[str, str], Path]:
    """`write_csv("my.csv", "a,b\\n1,2\\n")`."""

    def write(name: str, text: str) -> Path:
        path = workdir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def idx_bytes(array: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    return (
        struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
        + array.astype(np.uint8).tobytes()
    )


@pytest.fixture
def mnist_files(workdir: Path) -> Path:
    """data/mnist/ with 60 training and 20 test images of 8x8 pixels, a bar per class."""
    folder = workdir / "data" / "mnist"
    folder.mkdir(parents=True)
    for stem, count in (("train", 60), ("t10k", 20)):
        labels = np.arange(count) % 4
        images = np.zeros((count, 8, 8), dtype=np.uint8)
        images[np.arange(count), labels * 2, :] = 250
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    return folder
