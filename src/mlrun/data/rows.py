"""Rows of data before preprocessing: in memory, or as columns in a memory-mapped file."""

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

AT_ONCE = 8_192  # rows of a large table to preprocess at once


class Columns:
    """A table (n, columns) float64, stored by column; rows are copied only on access.

    Args:
        parts: (n,) numbers of each column; views of memory-mapped files use no memory.
        memory_budget: maximum bytes for preprocessed rows in memory; larger ones are memory-mapped.
    """

    def __init__(self, parts: Sequence[NDArray[np.float64]], *, memory_budget: float) -> None:
        self._parts, self._budget = parts, memory_budget

    def __len__(self) -> int:
        return len(self._parts[0])

    def __getitem__(self, index: Tensor) -> Tensor:
        rows = index.numpy()
        return torch.from_numpy(np.stack([part[rows] for part in self._parts], axis=1))

    def empty(self, *shape: int) -> Tensor:
        """Return an empty array for preprocessed rows: in memory or in a temporary file."""
        size = 4 * int(np.prod(shape))
        if size <= self._budget:
            return torch.empty(*shape)
        # In the cache folder, because /tmp may be in memory; the mapping outlives the file name.
        with tempfile.TemporaryFile(dir=cache_folder("rows")) as file:
            reserve(file, size)
            return torch.from_numpy(np.memmap(file, dtype=np.float32, mode="r+", shape=shape))

    def let_go(self) -> None:
        """Release the memory of pages that were read from a memory-mapped file."""
        for part in self._parts:  # views of the same file, or computed arrays
            let_go(part)


def reserve(file: IO[bytes], size: int) -> None:
    """Allocate `size` bytes on disk: writing a mapped page on a full disk kills the process.

    Raises:
        OSError: the disk is full.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:
        file.truncate(size)


def let_go(values: NDArray[Any]) -> None:
    """Release the pages of a memory-mapped file; the next access reads them again."""
    owner: Any = values
    while owner is not None and not isinstance(owner, mmap.mmap):
        owner = getattr(owner, "base", None)
    if owner is not None and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Rows:
    """Rows as read from the files, before preprocessing."""

    source: Tensor | Columns  # (N, columns) float64 or (N, channels, height, width) uint8
    targets: Tensor | None  # (n, 1) float64 in the target's unit, or (n,) int64 class numbers
    names: Sequence[Any]  # one per row of the source
    index: Tensor | None = None  # (n,) row numbers in the source; None: all rows
    no_targets: str = ""  # why there are no targets
    _prepared: dict[Any, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.source if self.index is None else self.index)

    @property
    def ids(self) -> list[Any]:
        """The id of each row in pred.csv."""
        if self.index is None:
            return list(self.names)
        return [self.names[number] for number in self.index.tolist()]

    @property
    def inputs(self) -> Tensor:
        """The raw numbers: (n, columns) or (n, channels, height, width)."""
        if self.index is None and isinstance(self.source, Tensor):
            return self.source
        return self.source[self._row_numbers()]

    def take(self, index: Sequence[int] | NDArray[np.int64]) -> "Rows":
        """Return the rows with these numbers, in this order; the source is shared."""
        numbers = torch.as_tensor(index, dtype=torch.int64)
        targets = None if self.targets is None else self.targets[numbers]
        within = numbers if self.index is None else self.index[numbers]
        return Rows(self.source, targets, self.names, within)

    def prepared(self, preprocess: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the rows after preprocessing, float32; computed once per `preprocess`."""
        if preprocess not in self._prepared:
            self._prepared[preprocess] = self._prepare(preprocess)
        return self._prepared[preprocess]

    def _prepare(self, preprocess: Callable[[Tensor], Tensor]) -> Tensor:
        """Preprocess the rows; a large table in chunks."""
        if isinstance(self.source, Tensor):
            return preprocess(self.inputs)
        numbers = self._row_numbers()
        order = numbers.argsort()  # in file order, so that each page is read once
        shape = preprocess(self.source[numbers[:1]]).shape[1:]
        prepared = self.source.empty(len(self), *shape)
        for piece in torch.split(order, AT_ONCE):
            prepared[piece] = preprocess(self.source[numbers[piece]])
            self.source.let_go()
        return prepared

    def _row_numbers(self) -> Tensor:
        return torch.arange(len(self.source)) if self.index is None else self.index
