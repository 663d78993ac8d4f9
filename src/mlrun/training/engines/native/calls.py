"""The kernel's functions as Python calls them: jobs for threads, and their errors."""

import weakref
from ctypes import CDLL, byref, c_void_p
from typing import Any

from mlrun.training.engines.native.interface import DONE, NO_MEMORY, ForwardJob, TrainingJob
from mlrun.training.engines.native.library import load_kernel


class ThreadPool:
    """Threads that train networks while the caller does something else.

    Args:
        threads: beside the caller's own, which works too while it waits.
        alive: what owns the memory that the jobs will refer to.

    Raises:
        MemoryError: there was not enough.
    """

    def __init__(self, threads: int, alive: Any) -> None:
        self._library, self._pool = load_kernel(), c_void_p()
        _check(self._library.mlrun_pool_create(threads, byref(self._pool)))
        # Whatever happens, memory that threads write to stays until they have finished.
        weakref.finalize(self, _destroy, self._library, self._pool, alive)

    def submit(self, job: TrainingJob) -> None:
        """Queue the job; it is updated in place, so nothing may read it before `wait` returns.

        Raises:
            MemoryError: there was not enough.
        """
        _check(self._library.mlrun_pool_submit(self._pool, byref(job)))

    def wait(self, job: TrainingJob) -> None:
        """Return when the job is done; the calling thread works on it, or on others, until then.

        Raises:
            MemoryError: there was not enough for it.
            RuntimeError: a fault of the kernel.
        """
        _check(self._library.mlrun_pool_wait(self._pool, byref(job)))


def _destroy(library: CDLL, pool: c_void_p, alive: Any) -> None:
    library.mlrun_pool_destroy(pool)


def forward(job: ForwardJob) -> None:
    """Fill the outputs.

    Raises:
        MemoryError: there was not enough.
        RuntimeError: a fault of the kernel.
    """
    _check(load_kernel().mlrun_forward(byref(job)))


def _check(status: int) -> None:
    if status == NO_MEMORY:
        raise MemoryError("can't allocate memory for the native engine")
    if status != DONE:
        raise RuntimeError("the native engine failed: a fault of mlrun, please report it")
