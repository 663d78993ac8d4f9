"""Checkpoints: take, write and read the state of a run."""

import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping
from operator import is_
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from mlrun.errors import MlrunError
from mlrun.runs.checkpoint_file import content_of, read_parts
from mlrun.runs.checkpoint_values import PLAIN, Part, encode, fits, unfit
from mlrun.runs.folder import RunFolder
from mlrun.system.files import write_atomically
from mlrun.system.seams import Place, reached
from mlrun.training.loop import EpochRow
from mlrun.training.torch_private import copy_tensors
from mlrun.training.types import Learner, Progress

State = dict[str, Any]
# The parts of best.safetensors and last.safetensors, with their types.
BEST_PARTS: dict[str, type] = {
    **dict.fromkeys(("config", "spec", "contract", "weights", "progress"), dict),
    "examples": torch.Tensor,
}
PLAIN_PARTS = ("config", "spec", "contract", "progress", "history")  # without tensors
LAST_PARTS = BEST_PARTS | {"optimizer": dict, "scheduler": dict, "best": dict, "history": list}


class Checkpoints:
    """The checkpoints of a run: copied in memory every epoch, written every few seconds.

    last.safetensors alone is enough to resume exactly: it also contains the best weights and the
    history. Row order and dropout of an epoch depend on (seed, epoch), so there is no random
    generator to save.

    Args:
        run: the run folder.
        every_seconds: shortest time between writes, except at the end.
        described: the description besides weights: config, spec, preprocessing contract.
        best: the best state of a resumed run.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        every_seconds: float,
        described: Mapping[str, Any],
        best: State | None = None,
    ) -> None:
        self._run = run
        self._every_seconds = every_seconds
        self._described = {name: encode(name, value) for name, value in described.items()}
        self._rows: list[str] = []  # encoded rows of the history
        self._written = time.monotonic()
        self._weights: State = {}
        self._last, self._best = _Copy(), _Copy()
        if best is not None:
            self._best.take(best)
        run.best.parent.mkdir(parents=True, exist_ok=True)

    def take(self, learner: Learner, progress: Progress) -> None:
        """Copy the state after an epoch; a run can resume only from the end of an epoch."""
        # The tensors of the model stay the same; state_dict() takes as long as copying them.
        self._weights = self._weights or learner.model.state_dict()
        state = {"weights": self._weights, "progress": dict(vars(progress))}
        if progress.is_best:
            self._best.take(state)
        moved = {"optimizer": learner.optimizer.state_dict()}
        self._last.take(state | moved | {"scheduler": learner.scheduler.state_dict()})

    @property
    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() - self._written >= self._every_seconds

    def write(self, history: list[EpochRow]) -> None:
        """Write both checkpoints, if an epoch is done, and keep the previous one.

        Args:
            history: the rows of all epochs so far; it only grows between calls.
        """
        reached(Place.CHECKPOINTS_WRITING)
        best, last = self._best.state, self._last.state
        if best:
            save_state(self._run.best, {**self._described, **best})
        if last:
            self._rows += [encode("history", row).text for row in history[len(self._rows) :]]
            rows = Part(f"[{','.join(self._rows)}]")
            whole = {**self._described, **last, "best": best, "history": rows}
            save_state(self._run.last, whole, keep=self._run.previous)
        self._written = time.monotonic()

    def load_best(self, learner: Learner) -> None:
        """Load the weights of the best epoch into the model."""
        if not self._best.state:  # the last epoch is always validated
            raise MlrunError(f"{self._run.last} is damaged: no best epoch in it")
        learner.model.load_state_dict(self._best.state["weights"])


class _Copy:
    """A copy of a state whose tensors are reused for the next copy."""

    def __init__(self) -> None:
        self._taken: State = {}
        self._originals: list[torch.Tensor] = []
        self._copies: list[torch.Tensor] = []

    def take(self, state: State) -> None:
        """Copy a state; much faster than copy.deepcopy, which takes longer than a small epoch."""
        originals: list[torch.Tensor] = []
        taken = _without_tensors(state, originals)
        same = len(originals) == len(self._originals) and all(map(is_, originals, self._originals))
        if same and originals:
            copy_tensors(self._copies, originals)
        else:
            self._copies = [_copied(tensor) for tensor in originals]
        self._originals, self._taken = originals, taken

    @property
    def state(self) -> State:
        """The last copied state; empty without a copy."""
        whole: State = _with_tensors(self._taken, iter(self._copies))
        return whole


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    if not fits(tensor):
        raise unfit(tensor)
    return tensor.detach().clone()


def _without_tensors(value: Any, found: list[torch.Tensor]) -> Any:
    """Copy plain values; collect tensors and leave a marker in their place.

    Raises:
        MlrunError: a checkpoint cannot store a value.
    """
    kind = type(value)
    if kind in PLAIN:
        return value
    if kind is dict or kind is OrderedDict:
        return {
            key: entry if type(entry) in PLAIN else _without_tensors(entry, found)
            for key, entry in value.items()
        }
    if kind is list or kind is tuple:
        return kind(_without_tensors(entry, found) for entry in value)
    if kind is Counter:
        return value.copy()
    if isinstance(value, torch.Tensor):
        found.append(value)
        return torch.Tensor
    raise unfit(value)


def _with_tensors(value: Any, tensors: Iterator[torch.Tensor]) -> Any:
    if value is torch.Tensor:
        return next(tensors)
    if type(value) is dict:
        return {key: _with_tensors(entry, tensors) for key, entry in value.items()}
    if type(value) is list or type(value) is tuple:
        return type(value)(_with_tensors(entry, tensors) for entry in value)
    return value


def check_savable(learner: Learner) -> None:
    """Check before training that a checkpoint can store the state.

    Raises:
        MlrunError: the state of model, optimizer or scheduler has an unsupported value.
    """
    for name in ("model", "optimizer", "scheduler"):
        encode(name, getattr(learner, name).state_dict())


def save_state(path: Path, state: Mapping[str, Any], *, keep: Path | None = None) -> None:
    """Write a state of plain values and tensors atomically.

    Args:
        path: the file.
        state: the state; parts may already be encoded.
        keep: the path to move the previous file to.

    Raises:
        MlrunError: a checkpoint cannot store a value.
    """
    parts = {
        name: value if isinstance(value, Part) else encode(name, value)
        for name, value in state.items()
    }
    write_atomically(path, content_of(parts), keep=keep)


def load_state(path: Path, *, parts: Mapping[str, type] = MappingProxyType({})) -> State:
    """Read a checkpoint on the CPU; this executes no code from the file.

    Args:
        path: the file.
        parts: the required parts and their types.

    Raises:
        MlrunError: the file is missing or damaged, has another format, or has missing or unknown
            parts.
    """
    if not path.is_file():
        raise MlrunError(f"no checkpoint {path}: did the run finish its first epoch?")
    state = read_parts(path, plain=PLAIN_PARTS)
    for name in state:
        if name not in LAST_PARTS:
            raise MlrunError(
                f"{path} is damaged: '{name[:60]}' is not a known part of a checkpoint"
            )
    for name, kind in parts.items():
        if not isinstance(state.get(name), kind):
            raise MlrunError(f"{path} is damaged: '{name}' is missing or is not a {kind.__name__}")
    return state


def load_last(run: RunFolder) -> tuple[State | None, str]:
    """Load the newest readable checkpoint, and describe the problem of a newer one.

    Returns:
        (state, complaint): None if no epoch was saved; an empty complaint without problems.

    Raises:
        MlrunError: there are checkpoints, but none is readable.
    """
    found = [path for path in (run.last, run.previous) if path.is_file()]
    complaint = ""
    for path in found:
        try:
            return load_state(path, parts=LAST_PARTS), complaint
        except MlrunError as error:
            complaint = f"{error}; using the checkpoint before it"
    if found:
        raise MlrunError(f"no checkpoint in {run.last.parent} can be read")
    return None, ""
