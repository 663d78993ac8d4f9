"""What a checkpoint costs: mlrun's files next to torch.save and torch.load of the same state.

Both write the best and the last checkpoint of a trained run, keep the one before and wait for the
disk; both read the last one and verify its checksums. They take turns, 200 times each. The table
has the medians in milliseconds; TMPDIR=/dev/shm takes the disk out of them.
"""

import contextlib
import io
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from mlrun.cli.main import main as mlrun
from mlrun.runs.checkpoint import BEST_PARTS, LAST_PARTS, Checkpoints, State, load_state
from mlrun.runs.folder import RunFolder
from mlrun.system.files import write_atomically
from mlrun.training.types import Progress

TIMES = 200
JOBS = {
    "covid mlp, 40 epochs": ("task=covid", "trainer.epochs=40"),
    "covid mlp, 1000 epochs": ("task=covid", "trainer.epochs=1000", "trainer.patience=null"),
    "mnist cnn, 2 epochs": ("task=mnist", "model=cnn", "trainer.epochs=2"),
}


def main() -> None:
    """Train, write and read each job's checkpoints, print the table."""
    torch.set_num_threads(1)
    print("| state | | torch, ms | mlrun, ms | mlrun / torch |\n| --- | --- | --- | --- | --- |")
    for label, words in JOBS.items():
        with tempfile.TemporaryDirectory() as folder:
            with contextlib.redirect_stdout(None):
                failed = mlrun([*words, "quiet=true", f"hydra.run.dir={folder}/run"])
            if failed:
                raise SystemExit(f"{label}: no run")
            state = load_state(RunFolder(Path(folder, "run")).last, parts=LAST_PARTS)
            compare(label, state, Path(folder))


def compare(label: str, state: State, folder: Path) -> None:
    """Print one row for writing and one for reading."""
    ours, theirs = RunFolder(folder / "mlrun"), RunFolder(folder / "torch")
    theirs.best.parent.mkdir(parents=True)
    ways = {
        "write": (lambda: with_torch(theirs, state), with_mlrun(ours, state)),
        "read": (lambda: read_with_torch(theirs.last), lambda: load_state(ours.last)),
    }
    for what, (torchs, mlruns) in ways.items():
        one, other = interleaved(torchs, mlruns)
        print(f"| {label} | {what} | {one:.2f} | {other:.2f} | {other / one:.2f} |")


def with_torch(run: RunFolder, state: State) -> None:
    """The best and the last checkpoint as files of torch.save."""
    best = {name: state[name] for name in BEST_PARTS} | state["best"]
    for path, content, keep in ((run.best, best, None), (run.last, state, run.previous)):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(path, buffer.getvalue(), keep=keep)


def read_with_torch(path: Path) -> object:
    """What torch.save wrote; by its name alone torch would take the file for safetensors."""
    with zipfile.ZipFile(path) as archive:
        archive.testzip()
    with path.open("rb") as file:
        return torch.load(file, weights_only=True)


def with_mlrun(run: RunFolder, state: State) -> Callable[[], None]:
    """What a run does when it is time to write again, with this state taken."""
    described = {name: state[name] for name in ("config", "spec", "contract", "examples")}
    checkpoints = Checkpoints(run, every_seconds=0, described=described, best=state["best"])
    parts = {"model": "weights", "optimizer": "optimizer", "scheduler": "scheduler"}
    learner: Any = SimpleNamespace(
        **{
            part: SimpleNamespace(state_dict=lambda name=name: state[name])
            for part, name in parts.items()
        }
    )
    checkpoints.take(learner, Progress(**state["progress"]))
    return lambda: checkpoints.write(state["history"])


def interleaved(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """The median milliseconds of each, in turns."""
    spent: tuple[list[float], list[float]] = ([], [])
    for turn in range(TIMES + 1):
        for work, seconds in zip((one, other), spent, strict=True):
            begun = time.perf_counter()
            work()
            if turn:  # the first one warms up
                seconds.append(time.perf_counter() - begun)
    first, second = (statistics.median(seconds) * 1e3 for seconds in spent)
    return first, second


if __name__ == "__main__":
    main()
