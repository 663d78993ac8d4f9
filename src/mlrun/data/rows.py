"""Rows of data before preprocessing: in memory, or column by column in a mapped file."""

import mmap
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mlrun.system.cache import cache_folder

AT_ONCE = 8_192  # rows of a large table that are preprocessed together


class Columns:
    """(n, columns) float64 that stay where they are, column by column, until rows are asked for.

    Args:
        parts: (n,) numbers of each column; views of mapped files cost no memory.
        memory_budget: bytes that preprocessed rows may take; beyond it they are mapped, too.
    """

    def __init__(self, parts: Sequence[NDArray[np.float64]], *, memory_budget: float) -> None:
        self._parts, self._budget = parts, memory_budget

    def __len__(self) -> int:
        return len(self._parts[0])

    def __getitem__(self, index: Tensor) -> Tensor:
        rows = index.numpy()
        return torch.from_numpy(np.stack([part[rows] for part in self._parts], axis=1))

    def empty(self, *shape: int) -> Tensor:
        """Room for preprocessed rows: memory, or a passing file."""
        size = 4 * int(np.prod(shape))
        if size <= self._budget:
            return torch.empty(*shape)
        # In the cache, because /tmp may be memory; what is mapped outlives the file.
        with tempfile.TemporaryFile(dir=cache_folder("rows")) as file:
            reserve(file, size)
            return torch.from_numpy(np.memmap(file, dtype=np.float32, mode="r+", shape=shape))

    def let_go(self) -> None:
        """What was read of a mapped file need not stay in memory."""
        for part in self._parts:  # of the same file, or computed
            let_go(part)


def reserve(file: IO[bytes], size: int) -> None:
    """Make the file so large, all of it: a page for which the disk has no room kills the process.

    Raises:
        OSError: no room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def let_go(values: NDArray[Any]) -> None:
    """Give the pages of a mapped file back; what is asked for again is read again."""
    owner: Any = values
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = getattr(owner, "base", None)
    if owner is not None and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Rows:
    """Rows as read, before preprocessing."""

    source: Tensor | Columns  # (N, columns) float64 or (N, channels, height, width) uint8
    targets: Tensor | None  # (n, 1) float32 in the target's unit, or (n,) int64 class numbers
    names: Sequence[Any]  # of all rows of the source
    index: Tensor | None = None  # (n,) which rows of the source; None: all
    _prepared: dict[Any, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.source if self.index is None else self.index)

    @property
    def ids(self) -> list[Any]:
        """What names each row in pred.csv."""
        if self.index is None:
            return list(self.names)
        return [self.names[place] for place in self.index.tolist()]

    @property
    def inputs(self) -> Tensor:
        """(n, columns) or (n, channels, height, width): the numbers themselves."""
        if self.index is None and isinstance(self.source, Tensor):
            return self.source
        return self.source[self._places()]

    def take(self, index: Sequence[int] | NDArray[np.int64]) -> "Rows":
        """The rows of these numbers, in this order; the source is shared."""
        places = torch.as_tensor(index, dtype=torch.int64)
        targets = None if self.targets is None else self.targets[places]
        within = places if self.index is None else self.index[places]
        return Rows(self.source, targets, self.names, within)

    def prepared(self, preprocess: Callable[[Tensor], Tensor]) -> Tensor:
        """The rows after preprocessing, float32; once for all who ask with the same one."""
        if preprocess not in self._prepared:
            self._prepared[preprocess] = self._prepare(preprocess)
        return self._prepared[preprocess]

    def _prepare(self, preprocess: Callable[[Tensor], Tensor]) -> Tensor:
        """Of a large table a piece at a time."""
        if isinstance(self.source, Tensor):
            return preprocess(self.inputs)
        places = self._places()
        order = places.argsort()  # as they stand in the file, so that each page is read once
        shape = preprocess(self.source[places[:1]]).shape[1:]
        prepared = self.source.empty(len(self), *shape)
        for piece in torch.split(order, AT_ONCE):
            prepared[piece] = preprocess(self.source[places[piece]])
            self.source.let_go()
        return prepared

    def _places(self) -> Tensor:
        return torch.arange(len(self.source)) if self.index is None else self.index
