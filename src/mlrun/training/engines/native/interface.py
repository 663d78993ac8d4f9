"""The kernel's structs and functions for ctypes; kernel/interface.h explains each field."""

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_int32, c_int64, c_uint64, c_void_p
from typing import Any

from mlrun.training.engines.native.compiler import Unavailable

ACTIVATIONS = ("identity", "relu", "leaky_relu", "tanh", "sigmoid", "elu", "silu", "gelu")
LOSSES = ("mse", "mae", "huber", "smooth_l1", "cross_entropy", "bce_with_logits")
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad")
DONE, NO_MEMORY, FAULT = range(3)  # return values of the functions


class NetworkPlan(ctypes.Structure):
    """A network's structure and the settings of its training."""

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


class EpochJob(ctypes.Structure):
    """An epoch of a network, or some of its steps: inputs and results."""

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


class TrainingJob(ctypes.Structure):
    """Successive epochs of a network."""

    _fields_ = (
        ("plan", POINTER(NetworkPlan)),
        ("state", c_void_p),
        ("inputs", c_void_p),
        ("targets", c_void_p),
        ("valid_inputs", c_void_p),
        ("valid_rows", c_int64),
        ("epochs", POINTER(EpochJob)),
        ("count", c_int64),
        ("threads", c_int64),
        ("status", c_int64),
    )


class ForwardJob(ctypes.Structure):
    """Computing a network's outputs for some rows."""

    _fields_ = (
        ("plan", POINTER(NetworkPlan)),
        ("state", c_void_p),
        ("inputs", c_void_p),
        ("rows", c_int64),
        ("outputs", c_void_p),
        ("threads", c_int64),
        ("status", c_int64),
    )


STRUCTURES: tuple[type[ctypes.Structure], ...] = (NetworkPlan, EpochJob, TrainingJob, ForwardJob)
# Name → type of the result, types of the arguments.
FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "mlrun_struct_size": (c_int64, (c_char_p,)),
    "mlrun_built": (c_char_p, ()),
    "mlrun_pool_create": (c_int32, (c_int64, POINTER(c_void_p))),
    "mlrun_pool_submit": (c_int32, (c_void_p, POINTER(TrainingJob))),
    "mlrun_pool_wait": (c_int32, (c_void_p, POINTER(TrainingJob))),
    "mlrun_pool_destroy": (None, (c_void_p,)),
    "mlrun_forward": (c_int32, (POINTER(ForwardJob),)),
}


def bind(library: ctypes.CDLL) -> None:
    """Declare the library's functions, and check that its structs have the same sizes as here.

    Raises:
        Unavailable: a function is missing, or a struct has a different size.
    """
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(library, name, None)
        if function is None:
            raise Unavailable(f"{library._name} does not fit this mlrun: it has no {name}")
        function.restype, function.argtypes = result, arguments
    for structure in STRUCTURES:
        here, name = ctypes.sizeof(structure), structure.__name__
        there = library.mlrun_struct_size(name.encode())
        if there != here:
            sizes = f"{name} has {there} bytes there, {here} here"
            raise Unavailable(f"{library._name} does not fit this mlrun: {sizes}")
