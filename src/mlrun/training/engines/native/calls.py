"""Call the kernel: submit jobs to its threads, wait for them, and raise their errors."""

import weakref
from ctypes import CDLL, byref, c_void_p
from typing import Any

from mlrun.training.engines.native.interface import DONE, NO_MEMORY, ForwardJob, TrainingJob
from mlrun.training.engines.native.library import load_kernel


class ThreadPool:
    """Threads that train networks in the background.

    Args:
        threads: number of threads; a thread that calls `wait` works, too.
        alive: the owner of the memory that the jobs use; the pool keeps a reference to it.

    Raises:
        MemoryError: there is not enough memory.
    """

    def __init__(self, threads: int, alive: Any) -> None:
        self._library, self._pool = load_kernel(), c_void_p()
        _check(self._library.mlrun_pool_create(threads, byref(self._pool)))
        # The memory that the threads write to must exist until they have finished.
        weakref.finalize(self, _destroy, self._library, self._pool, alive)

    def submit(self, job: TrainingJob) -> None:
        """Queue the job; the threads update it in place: do not read it before `wait` returns.

        Raises:
            MemoryError: there is not enough memory.
        """
        _check(self._library.mlrun_pool_submit(self._pool, byref(job)))

    def wait(self, job: TrainingJob) -> None:
        """Work on this job or on others until this one is done.

        Raises:
            MemoryError: the job needs more memory than there is.
            RuntimeError: a bug in the kernel.
        """
        _check(self._library.mlrun_pool_wait(self._pool, byref(job)))


def _destroy(library: CDLL, pool: c_void_p, alive: Any) -> None:
    library.mlrun_pool_destroy(pool)


def forward(job: ForwardJob) -> None:
    """Compute the outputs of the job's rows.

    Raises:
        MemoryError: there is not enough memory.
        RuntimeError: a bug in the kernel.
    """
    _check(load_kernel().mlrun_forward(byref(job)))


def _check(status: int) -> None:
    if status == NO_MEMORY:
        raise MemoryError("can't allocate memory for the native engine")
    if status != DONE:
        raise RuntimeError("the native engine failed: this is a bug in mlrun, please report it")
