"""The kernel's calls through ctypes; kernel.cpp says what every field means."""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_double, c_int64, c_uint64, c_void_p

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


class Steps(ctypes.Structure):
    """Some steps of a network, and what became of them."""

    _fields_ = (
        ("plan", POINTER(Plan)),
        ("parameters", POINTER(c_void_p)),
        ("first_moments", POINTER(c_void_p)),
        ("second_moments", POINTER(c_void_p)),
        ("inputs", c_void_p),
        ("targets", c_void_p),
        ("order", c_void_p),
        ("counts", POINTER(c_int64)),
        ("rates", POINTER(c_double)),
        ("momenta", POINTER(c_double)),
        ("steps", c_int64),
        ("steps_before", c_int64),
        ("rows_before", c_int64),
        ("keys", POINTER(c_uint64)),
        ("loss", c_double),
        ("done", c_int64),
        ("step_loss", c_double),
        ("step_norm", c_double),
    )


class Forward(ctypes.Structure):
    """Rows through a network."""

    _fields_ = (
        ("plan", POINTER(Plan)),
        ("parameters", POINTER(c_void_p)),
        ("inputs", c_void_p),
        ("rows", c_int64),
        ("outputs", c_void_p),
    )


def train(jobs: Sequence[Steps], *, threads: int) -> None:
    """Take every job's steps, each job on one thread; the jobs are updated in place.

    Raises:
        MemoryError: there was not enough for one of them.
    """
    _call("mlrun_train", jobs, threads)


def forward(jobs: Sequence[Forward], *, threads: int) -> None:
    """Fill every job's outputs, each job on one thread.

    Raises:
        MemoryError: there was not enough for one of them.
    """
    _call("mlrun_forward", jobs, threads)


def _call(name: str, jobs: Sequence[ctypes.Structure], threads: int) -> None:
    places = (c_void_p * len(jobs))(*map(ctypes.addressof, jobs))
    if getattr(load(), name)(places, c_int64(len(jobs)), c_int64(threads)):
        raise MemoryError("can't allocate memory for the native engine")
