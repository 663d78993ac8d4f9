"""Run mlrun and die by SIGKILL at a chosen place: python die_at.py POINT NTH -- ARGUMENTS.

POINT is a key of POINTS; the process kills itself the NTH time it gets there. Nothing of ours
runs after that, just as after `kill -9` or the out-of-memory killer.
"""

import builtins
import itertools
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NoReturn

import torch
from matplotlib.figure import Figure

import mlrun.report.tensorboard
import mlrun.runs.metrics_file
from mlrun.cli.main import main
from mlrun.system.seams import Place, listening

Reached = Callable[[], bool]  # whether this is the time to die
Patch = Callable[[Reached], None]  # makes one place die


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("survived")


# --- where: before or after a call, or halfway through a file ---


def always(*_: Any, **__: Any) -> bool:
    return True


def before(owner: Any, name: str, when: Callable[..., bool] = always) -> Patch:
    """Die instead of calling `owner.name`, counting the calls for which `when` holds."""

    def patch(reached: Reached) -> None:
        original = getattr(owner, name)

        def patched(*arguments: Any, **named: Any) -> Any:
            if when(*arguments, **named) and reached():
                die()
            return original(*arguments, **named)

        setattr(owner, name, patched)

    return patch


def after(owner: Any, name: str, when: Callable[..., bool] = always) -> Patch:
    """Die as soon as `owner.name` has done its work."""

    def patch(reached: Reached) -> None:
        original = getattr(owner, name)

        def patched(*arguments: Any, **named: Any) -> Any:
            counted = when(*arguments, **named)
            result = original(*arguments, **named)
            if counted and reached():
                die()
            return result

        setattr(owner, name, patched)

    return patch


_listening = ExitStack()


def at(place: Place) -> Patch:
    """Die at a place that production code names."""

    def patch(reached: Reached) -> None:
        def die_if_reached(_: Any) -> None:
            if reached():
                die()

        _listening.enter_context(listening(place, die_if_reached))  # until the process ends

    return patch


def half(pattern: str) -> Patch:
    """Die with half of a write on disk, to a file whose name fits the pattern."""

    def patch(reached: Reached) -> None:
        original = builtins.open

        def patched(path: Any, *arguments: Any, **named: Any) -> IO[Any]:
            file: IO[Any] = original(path, *arguments, **named)
            if isinstance(path, Path) and path.match(pattern) and file.writable():
                setattr(file, "write", _half_writing(file, reached))  # noqa: B010
            return file

        setattr(builtins, "open", patched)  # noqa: B010

    return patch


def _half_writing(file: IO[Any], reached: Reached) -> Callable[[Any], int]:
    write_whole = file.write

    def write(content: Any) -> int:
        if reached():
            write_whole(content[: len(content) // 2])
            file.flush()
            die()
        return write_whole(content)

    return write


def to(name: str) -> Callable[..., bool]:
    """A rename to that name."""
    return lambda _, target, **__: Path(target).name == name


def of(name: str) -> Callable[..., bool]:
    """A descriptor of the temporary file that will get that name, somewhere below us."""

    def is_its(descriptor: int) -> bool:
        found = os.fstat(descriptor)
        files = Path().rglob(f".{name}.*.tmp")
        return any(os.path.samestat(found, file.stat()) for file in files)

    return is_its


POINTS: dict[str, Patch] = {
    # before there is anything to go on from
    "before-config.yaml": at(Place.RUN_BEGINS),
    "after-config.yaml": after(os, "replace", to("config.yaml")),
    "before-run.json": after(os, "replace", to("split.json")),
    # run.json: written anew at every turn
    "half-of-run.json": half(".run.json.*.tmp"),
    "run.json-not-synced": before(os, "fsync", of("run.json")),
    "run.json-renamed": after(os, "replace", to("run.json")),
    # while it trains
    "before-training": at(Place.TRAINING_BEGINS),
    "before-an-epoch": at(Place.EPOCH_BEGINS),
    "between-gradient-and-step": at(Place.STEP_BEGINS),
    "before-the-kernels-numbers-are-torchs": at(Place.KERNEL_STATE_TAKEN),
    "some-of-the-kernels-numbers-are-torchs": before(torch.Tensor, "fill_"),  # not Adam's counters
    "while-validating": at(Place.EPOCH_SCORED),
    # metrics.csv and TensorBoard: they grow
    "half-of-the-first-metrics.csv": half(".metrics.csv.*.tmp"),
    "half-a-row-of-metrics.csv": half("metrics.csv"),
    "half-a-tensorboard-event": half("events.out.tfevents.*"),
    "old-events-removed": after(os, "unlink", lambda name, **_: "tfevents" in str(name)),
    "between-metrics-and-checkpoint": at(Place.CHECKPOINTS_WRITING),
    # best.safetensors
    "half-of-best": half(".best.safetensors.*.tmp"),
    "best-not-synced": before(os, "fsync", of("best.safetensors")),
    "best-before-rename": before(os, "replace", to("best.safetensors")),
    "best-renamed": after(os, "replace", to("best.safetensors")),
    # last.safetensors, in the order it comes to be
    "half-of-last": half(".last.safetensors.*.tmp"),
    "last-not-synced": before(os, "fsync", of("last.safetensors")),
    "last-before-it-is-previous": before(os, "replace", to("previous.safetensors")),
    "last-missing": after(os, "replace", to("previous.safetensors")),
    "last-renamed": after(os, "replace", to("last.safetensors")),  # its folder is not synced yet
    # after training
    "before-scoring": at(Place.SCORING_BEGINS),
    "half-of-pred.csv": half(".pred.csv.*.tmp"),
    "pred.csv-renamed": after(os, "replace", to("pred.csv")),
    "while-drawing": before(Figure, "draw"),
    "half-a-picture": half(".*.png.*.tmp"),
    # predict and export
    "output-before-rename": before(os, "replace", to("p")),
    # while it is resumed
    "before-the-state-is-restored": at(Place.STATE_RESTORING),
    "state-restored": at(Place.STATE_RESTORED),
}


def run(point: str, number: int, arguments: Sequence[str]) -> int:
    """What mlrun answers, if it never comes to the point."""
    # What is held back for a second comes to disk at once, so that it can be hit in a short run.
    mlrun.runs.metrics_file.MetricsFile.FLUSH_SECONDS = 0.0
    mlrun.report.tensorboard.FLUSH_SECONDS = 0.0
    times = itertools.count(1)
    POINTS[point](lambda: next(times) == number)
    return main(arguments)


if __name__ == "__main__":
    chosen, nth, dashes, *rest = sys.argv[1:]
    assert dashes == "--"
    sys.exit(run(chosen, int(nth), rest))
