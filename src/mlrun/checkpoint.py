"""Checkpoints: plain tensors and primitives, written atomically, loaded without unpickling code."""

import io
import pickle
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mlrun.errors import MlrunError
from mlrun.loop import Learner, Progress
from mlrun.run_folder import RunFolder, write_atomically

FORMAT = 1
State = dict[str, Any]


class Checkpoints:
    """best.pt and last.pt of a run: taken in memory every epoch, on disk every few seconds.

    Args:
        run: whose checkpoints/ they go to.
        every_seconds: how often at most, `finish` aside.
        described: what a checkpoint says besides weights: config, spec, preprocessing contract.
    """

    def __init__(
        self, run: RunFolder, *, every_seconds: float, described: Mapping[str, Any]
    ) -> None:
        self._run = run
        self._every_seconds = every_seconds
        self._described = {"format": FORMAT, **described}
        self._written = time.monotonic()
        self._best: State | None = None
        run.best.parent.mkdir(parents=True, exist_ok=True)

    def take(self, learner: Learner, progress: Progress) -> None:
        """After an epoch: remember the weights if they are the best, and write if it is time."""
        if progress.improved:
            weights = {k: v.detach().clone() for k, v in learner.model.state_dict().items()}
            self._best = {"weights": weights, "progress": asdict(progress)}
        if time.monotonic() - self._written >= self._every_seconds:
            self.write(learner, progress)

    def write(self, learner: Learner, progress: Progress) -> None:
        """Put both on disk. Only between epochs: a checkpoint is where a run can go on."""
        self.write_best()
        last = {
            "weights": learner.model.state_dict(),
            "optimizer": learner.optimizer.state_dict(),
            "scheduler": learner.scheduler.state_dict(),
            "progress": asdict(progress),
            "random": torch.get_rng_state(),
        }
        save(self._run.last, self._described | last)
        self._written = time.monotonic()

    def write_best(self) -> None:
        """Put the best weights on disk, if there are any yet."""
        if self._best is not None:
            save(self._run.best, self._described | self._best)

    def load_best(self, learner: Learner) -> None:
        """Give the model the weights of its best epoch."""
        assert self._best is not None, "the last epoch is always validated"
        learner.model.load_state_dict(self._best["weights"])


def save(path: Path, state: State) -> None:
    """Write a state of plain values and tensors, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def load(path: Path) -> State:
    """Read a checkpoint on the CPU, refusing anything but tensors and plain values.

    Raises:
        MlrunError: missing, damaged, holding code, or of another format.
    """
    if not path.is_file():
        raise MlrunError(f"no checkpoint {path}: did the run finish its first epoch?")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        first_line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise MlrunError(f"{path} cannot be loaded as plain tensors: {first_line}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise MlrunError(f"{path}: not a checkpoint of format {FORMAT}, the one this mlrun reads")
    return state
