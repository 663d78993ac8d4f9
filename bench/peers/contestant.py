"""Shared by all contestants: the rows of the job, the command line, the format of the answer."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from jobs import JOBS, Job


@dataclass(frozen=True)
class Rows:
    """Standardised rows and their targets."""

    inputs: Any  # (n, *shape) float32
    targets: Any  # (n, 1) float32 or (n,) int64


@dataclass(frozen=True)
class Heat:
    """One contestant's task in one process."""

    job: Job
    folder: Path  # written by prepare.py
    train: Rows
    valid: Rows
    epochs: int
    options: argparse.Namespace

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return -(-len(self.train.inputs) // self.job.batch)


def heat(*options: str) -> Heat:
    """Parse the command line: FOLDER JOB EPOCHS and these options, with or without a value."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("epochs", type=int)
    for option in options:
        parser.add_argument(f"--{option}", nargs="?", const="yes", default="")
    given = parser.parse_args()
    parts = [_rows(given.folder / given.job, part) for part in ("train", "valid")]
    return Heat(JOBS[given.job], given.folder, *parts, given.epochs, given)


def _rows(place: Path, part: str) -> Rows:
    return Rows(*(np.load(place / f"{part}_{kind}.npy") for kind in ("inputs", "targets")))


class Laps:
    """The end time and validation loss of each epoch.

    The first epoch does not count, because it imports, compiles and allocates.
    """

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.times: list[float] = []

    def add(self, loss: float) -> None:
        """Record the end of an epoch."""
        self.losses.append(float(loss))
        self.times.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """Seconds of all epochs except the first."""
        return self.times[-1] - self.times[0]


def answer(
    heat: Heat,
    seconds: float,
    losses: Sequence[float],
    *,
    label: str = "",
    members: int = 1,
    operations: float = 0.0,
) -> None:
    """Print the time of all epochs except the first, and the validation losses.

    Args:
        heat: the task of this process.
        seconds: of all epochs except the first.
        losses: on the validation rows, after each epoch.
        label: name of this answer, if the process prints several.
        members: number of networks; each network's steps count.
        operations: additions and multiplications per epoch, for the comparison with the peak.
    """
    epochs = heat.epochs - 1
    line = {
        "label": label,
        "seconds": seconds,
        "epochs": epochs,
        "steps": heat.steps * epochs * members,
        "flops": operations * epochs / seconds,
        "losses": [round(float(loss), 6) for loss in losses],
    }
    print("\n" + json.dumps(line), flush=True)
