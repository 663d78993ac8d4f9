"""The kernel's calls through ctypes; kernel.cpp says what every field means."""

import ctypes
import weakref
from ctypes import POINTER, byref, c_double, c_int64, c_uint64, c_void_p
from typing import Any

from mlrun.training.engines.native.library import load

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
        ("threads", c_int64),
        ("status", c_int64),
    )


class Forward(ctypes.Structure):
    """Rows through a network."""

    _fields_ = (
        ("plan", POINTER(Plan)),
        ("state", c_void_p),
        ("inputs", c_void_p),
        ("rows", c_int64),
        ("outputs", c_void_p),
        ("threads", c_int64),
        ("status", c_int64),
    )


class Crew:
    """Threads that train networks while the caller does something else.

    Args:
        threads: beside the caller's own, which lends a hand while it waits.
        alive: what owns the memory that the jobs will refer to.
    """

    def __init__(self, threads: int, alive: Any) -> None:
        library = load()
        library.mlrun_hire.restype = c_void_p
        crew = library.mlrun_hire(c_int64(threads))
        _check(crew is None)
        self._crew = c_void_p(crew)
        # Whatever happens, memory that threads write to stays until they have finished.
        weakref.finalize(self, _dismiss, self._crew, alive)

    def add(self, job: Training) -> None:
        """Let it be done; it is updated in place, and not to be looked at before the end.

        Raises:
            MemoryError: there was not enough.
        """
        _check(load().mlrun_add(self._crew, byref(job)))

    def wait(self, job: Training) -> None:
        """Lend a hand until it is done.

        Raises:
            MemoryError: there was not enough for it.
        """
        _check(load().mlrun_wait(self._crew, byref(job)))


def _dismiss(crew: c_void_p, alive: Any) -> None:
    load().mlrun_dismiss(crew)


def forward(job: Forward) -> None:
    """Fill the outputs.

    Raises:
        MemoryError: there was not enough.
    """
    _check(load().mlrun_forward(byref(job)))


def _check(failed: int) -> None:
    if failed:
        raise MemoryError("can't allocate memory for the native engine")
