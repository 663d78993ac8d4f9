"""Choose the device and the number of threads."""

import os

import torch

from mlrun.errors import MlrunError
from mlrun.system import processes

# Below this number of multiply-adds per step, a second thread costs more than it gains: waking a
# thread that shares its core takes milliseconds.
ONE_THREAD_BELOW = 100_000_000


def choose_device(name: str) -> torch.device:
    """Return the device with this name; `auto` selects CUDA, then Apple's MPS, then the CPU.

    Raises:
        MlrunError: the name is invalid, or this machine does not have the device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else _mps_or_cpu()
    if processes.size() > 1 and name.startswith("cuda"):
        if name != "cuda":
            raise MlrunError(
                f"device={name}: each process uses its own GPU; set device=cuda or auto"
            )
        name = f"cuda:{processes.local_rank()}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise MlrunError(f"device={name}: must be one of auto, cpu, cuda, cuda:1, mps") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise MlrunError(f"device={name}: must be one of auto, cpu, cuda, cuda:1, mps")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        here = f"cuda:0 … cuda:{count - 1}" if count else "no CUDA device"
        raise MlrunError(
            f"device={name}: this machine has {here}; device=auto selects an available device"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MlrunError(
            "device=mps: this machine has no MPS device; device=auto selects an available device"
        )
    return device


def _mps_or_cpu() -> str:
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_threads(multiply_adds: int) -> int:
    """Return the number of CPU threads; it depends only on the work, so runs are repeatable."""
    enough = multiply_adds < ONE_THREAD_BELOW
    return 1 if enough else max(1, usable_cores() // processes.local_size())


def usable_cores() -> int:
    """Return the number of cores this process may use (Linux), otherwise all cores."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1
