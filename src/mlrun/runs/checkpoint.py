"""Checkpoints: plain tensors and primitives, written atomically, loaded without unpickling code."""

import io
import pickle
import pickletools
import time
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from operator import is_
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from mlrun.errors import MlrunError
from mlrun.runs.folder import RunFolder
from mlrun.system.files import write_atomically
from mlrun.training.loop import EpochRow
from mlrun.training.types import Learner, Progress

FORMAT = 1
State = dict[str, Any]
# What best.pt and last.pt hold, and of what kind it is.
BEST_PARTS: dict[str, type] = {
    **dict.fromkeys(("config", "spec", "contract", "weights", "progress"), dict),
    "examples": torch.Tensor,
}
LAST_PARTS = BEST_PARTS | {"optimizer": dict, "scheduler": dict, "history": list}


class Checkpoints:
    """best.pt and last.pt of a run: taken in memory every epoch, on disk every few seconds.

    last.pt alone is enough to go on exactly: it also holds the best weights and the history, and
    order and dropout of an epoch follow from (seed, epoch), so there is no generator to save.

    Args:
        run: whose checkpoints/ they go to.
        every_seconds: how often at most, the end aside.
        described: what a checkpoint says besides weights: config, spec, preprocessing contract.
        best: of the run that is resumed.
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
        self._described = {"format": FORMAT, **described}
        self._written = time.monotonic()
        self._weights: State = {}
        self._last, self._best = _Copy(), _Copy()
        if best is not None:
            self._best.take(best)
        run.best.parent.mkdir(parents=True, exist_ok=True)

    def take(self, learner: Learner, progress: Progress) -> None:
        """After an epoch, the one place a run can go on from: keep a copy of the state."""
        # The model's tensors stay where they are; asking for them takes as long as copying them.
        self._weights = self._weights or learner.model.state_dict()
        state = {"weights": self._weights, "progress": dict(vars(progress))}
        if progress.improved:
            self._best.take(state)
        moved = {"optimizer": learner.optimizer.state_dict()}
        self._last.take(state | moved | {"scheduler": learner.scheduler.state_dict()})

    @property
    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() - self._written >= self._every_seconds

    def write(self, history: list[EpochRow]) -> None:
        """Put both on disk, if an epoch has been done; the last.pt before stays as previous.pt."""
        best, last = self._best.state, self._last.state
        if best:
            save(self._run.best, self._described | best)
        if last:
            whole = self._described | last | {"best": best, "history": history}
            save(self._run.last, whole, keep=self._run.previous)
        self._written = time.monotonic()

    def load_best(self, learner: Learner) -> None:
        """Give the model the weights of its best epoch."""
        if not self._best.state:  # the last epoch is always validated
            raise MlrunError(f"{self._run.last} is damaged: no best epoch in it")
        learner.model.load_state_dict(self._best.state["weights"])


class _Copy:
    """A state with tensors of its own, into which the next one is copied."""

    def __init__(self) -> None:
        self._taken: State = {}
        self._originals: list[torch.Tensor] = []
        self._copies: list[torch.Tensor] = []

    def take(self, state: State) -> None:
        """Copy what may change; much faster than copy.deepcopy, which outlasts a small epoch."""
        originals: list[torch.Tensor] = []
        self._taken = _without_tensors(state, originals)
        same = len(originals) == len(self._originals) and all(map(is_, originals, self._originals))
        if same and originals:
            torch._foreach_copy_(self._copies, originals)
        else:
            self._copies = [tensor.detach().clone() for tensor in originals]
        self._originals = originals

    @property
    def state(self) -> State:
        """What was taken last; empty if nothing was."""
        whole: State = _with_tensors(self._taken, iter(self._copies))
        return whole


_PLAIN = frozenset((int, float, str, bool, type(None)))


def _without_tensors(value: Any, found: list[torch.Tensor]) -> Any:
    """A copy of plain values; tensors are collected, and a mark left in their place."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict or kind is OrderedDict:
        return {
            key: entry if type(entry) in _PLAIN else _without_tensors(entry, found)
            for key, entry in value.items()
        }
    if kind is list:
        return [_without_tensors(entry, found) for entry in value]
    if isinstance(value, torch.Tensor):
        found.append(value)
        return torch.Tensor
    return value


def _with_tensors(value: Any, tensors: Iterator[torch.Tensor]) -> Any:
    if value is torch.Tensor:
        return next(tensors)
    if type(value) is dict:
        return {key: _with_tensors(entry, tensors) for key, entry in value.items()}
    return [_with_tensors(entry, tensors) for entry in value] if type(value) is list else value


def save(path: Path, state: State, *, keep: Path | None = None) -> None:
    """Write a state of plain values and tensors, whole or not at all.

    Args:
        path: the file.
        state: what `load` gives back.
        keep: where to the file that stood at `path` before is moved.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue(), keep=keep)


def load(path: Path, *, parts: Mapping[str, type] = MappingProxyType({})) -> State:
    """Read a checkpoint on the CPU, refusing anything but tensors and plain values.

    Args:
        path: the file.
        parts: what must be in it, and of what kind.

    Raises:
        MlrunError: missing, damaged, holding code, of another format, or without one of `parts`.
    """
    if not path.is_file():
        raise MlrunError(f"no checkpoint {path}: did the run finish its first epoch?")
    try:
        _check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        _check_size(state, path)
    except MlrunError:
        raise
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        first_line = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise MlrunError(f"{path} cannot be loaded as plain tensors: {first_line}") from error
    written = state.get("format") if isinstance(state, dict) else None
    if not isinstance(written, int) or written != FORMAT:
        raise MlrunError(f"{path}: not a checkpoint of format {FORMAT}, the one this mlrun reads")
    for name, kind in parts.items():
        if not isinstance(state.get(name), kind):
            raise MlrunError(
                f"{path} is damaged: '{name}' is missing in it or is no {kind.__name__}"
            )
    return state  # type: ignore[no-any-return]


def load_last(run: RunFolder) -> tuple[State | None, str]:
    """The newest whole checkpoint to go on from, and what was wrong with a newer one.

    Returns:
        (state, complaint): no state where no epoch was ever saved, no complaint where all is well.

    Raises:
        MlrunError: there are checkpoints, and none of them can be read.
    """
    found = [path for path in (run.last, run.previous) if path.is_file()]
    complaint = ""
    for path in found:
        try:
            return load(path, parts=LAST_PARTS), complaint
        except MlrunError as error:
            complaint = f"{error}; using the checkpoint before it"
    if found:
        raise MlrunError(f"no checkpoint in {run.last.parent} can be read")
    return None, ""


# What our checkpoints are made of besides plain values; torch would build more (sparse tensors,
# byte arrays of any announced size …).
_MADE_OF = {
    "torch._utils _rebuild_tensor_v2",
    "collections OrderedDict",
    "collections Counter",  # MultiStepLR keeps its milestones so
} | {
    f"torch {kind}Storage"
    for kind in ("Bool", "Byte", "Int", "Long", "Half", "BFloat16", "Float", "Double")
}


def _check_contents(archive: zipfile.ZipFile, path: Path) -> None:
    """Look through the pickle without running it.

    Raises:
        MlrunError: it names something else than tensors.
    """
    for name in archive.namelist():
        if not name.endswith("data.pkl"):
            continue
        for operation, argument, _ in pickletools.genops(archive.read(name)):
            named = argument if operation.name == "GLOBAL" else operation.name
            if operation.name in ("GLOBAL", "STACK_GLOBAL", "INST") and named not in _MADE_OF:
                raise MlrunError(f"{path} cannot be loaded as plain tensors: it holds {named}")


def _check_size(state: Any, path: Path) -> None:
    """Refuse entries that refer to each other so often that together they outgrow the file.

    Raises:
        MlrunError: more values, or larger tensors, than bytes.
    """
    left, todo = path.stat().st_size, [state]
    while todo and left > 0:
        value = todo.pop()
        left -= 1
        if isinstance(value, Mapping):
            todo += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            todo += value
        elif isinstance(value, torch.Tensor):
            held = value.untyped_storage().nbytes() if value.layout == torch.strided else 0
            left = left if value.numel() * value.element_size() <= held else 0
    if todo or left <= 0:
        raise MlrunError(f"{path} cannot be loaded: its entries are larger than the file")


def _check_archive(path: Path) -> None:
    """torch's files are zip archives of stored entries, each with a checksum: verify them all.

    Raises:
        MlrunError: no such archive, a wrong checksum, or entries that unpack to more than they are.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inflated = [e for e in archive.infolist() if e.compress_type != zipfile.ZIP_STORED]
            if inflated or sum(e.file_size for e in archive.infolist()) > path.stat().st_size:
                raise MlrunError(f"{path} cannot be loaded: its entries are larger than the file")
            damaged = archive.testzip()
            if damaged is None:
                _check_contents(archive, path)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise MlrunError(f"{path} cannot be loaded: {error}") from error
    if damaged is not None:
        raise MlrunError(f"{path} cannot be loaded: the checksum of {damaged} is wrong")
