"""The kernel's calls through ctypes; kernel.cpp says what every field means."""

import ctypes
import weakref
from collections.abc import Sequence
from ctypes import POINTER, c_double, c_int64, c_uint64, c_void_p
from typing import Any

from mlrun.native.library import load

ACTIVATIONS = ("identity", "relu", "leaky_relu", "tanh", "sigmoid", "elu", "silu", "gelu")
LOSSES = ("mse", "mae", "huber", "smooth_l1", "cross_entropy", "bce_with_logits")
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad")


class Plan(ctypes.Structure):
    """What a network is and how it learns."""

    _fields_ = (
        ("layers", c_int64),
        ("sizes", POINTER(c_int64)),
        ("activation", c_int64),
        ("dropout", c_double),
        ("loss", c_int64),
        ("loss_setting", c_double),
        ("optimizer", c_int64),
        ("moments", c_int64),
        ("nesterov", c_int64),
        ("beta2", c_double),
        ("epsilon", c_double),
        ("weight_decay", c_double),
        ("rate_decay", c_double),
        ("l1", c_double),
        ("l2", c_double),
        ("clip_norm", c_double),
        ("clip_value", c_double),
    )


class Epoch(ctypes.Structure):
    """An epoch of a network, or some steps of one, and what became of them."""

    _fields_ = (
        ("order", c_void_p),
        ("counts", POINTER(c_int64)),
        ("rates", POINTER(c_double)),
        ("momenta", POINTER(c_double)),
        ("steps", c_int64),
        ("steps_before", c_int64),
        ("rows_before", c_int64),
        ("keys", POINTER(c_uint64)),
        ("state", c_void_p),
        ("outputs", c_void_p),
        ("loss", c_double),
        ("done", c_int64),
        ("step_loss", c_double),
        ("step_norm", c_double),
    )


class Training(ctypes.Structure):
    """Epochs of a network, one after another."""

    _fields_ = (
        ("plan", POINTER(Plan)),
        ("state", c_void_p),
        ("inputs", c_void_p),
        ("targets", c_void_p),
        ("valid_inputs", c_void_p),
        ("valid_rows", c_int64),
        ("epochs", POINTER(Epoch)),
        ("count", c_int64),
    )


class Forward(ctypes.Structure):
    """Rows through a network."""

    _fields_ = (
        ("plan", POINTER(Plan)),
        ("state", c_void_p),
        ("inputs", c_void_p),
        ("rows", c_int64),
        ("outputs", c_void_p),
    )


class Working:
    """Networks in training, each by one thread, while the caller does something else.

    Args:
        jobs: updated in place; not to be looked at before the end.
        threads: that begin at once; `finish` is one more.
        alive: what owns the memory that the jobs refer to.
    """

    def __init__(self, jobs: Sequence[Training], *, threads: int, alive: Any) -> None:
        places = _places(jobs)
        begin = load().mlrun_train
        begin.restype = c_void_p
        crew = begin(places, c_int64(len(jobs)), c_int64(threads))
        # Whatever happens, memory that threads write to stays until they have finished.
        self._finish = weakref.finalize(self, _finish, crew, (jobs, alive))

    def finish(self) -> None:
        """Lend a hand until all is done.

        Raises:
            MemoryError: there was not enough for one of them.
        """
        _check(self._finish())


def _finish(crew: int | None, alive: Any) -> int:
    return 1 if crew is None else int(load().mlrun_finish(c_void_p(crew)))


def forward(jobs: Sequence[Forward], *, threads: int) -> None:
    """Fill every job's outputs, each job on one thread.

    Raises:
        MemoryError: there was not enough for one of them.
    """
    _check(load().mlrun_forward(_places(jobs), c_int64(len(jobs)), c_int64(threads)))


def _places(jobs: Sequence[ctypes.Structure]) -> ctypes.Array[c_void_p]:
    return (c_void_p * len(jobs))(*map(ctypes.addressof, jobs))


def _check(failed: int | None) -> None:
    if failed:
        raise MemoryError("can't allocate memory for the native engine")
