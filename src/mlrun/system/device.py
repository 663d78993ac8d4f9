"""Where and how to compute: device, threads, seeds, determinism."""

import os

import torch

from mlrun.errors import MlrunError
from mlrun.system import processes

# Multiply-adds per step under which a second thread costs more than it gives. Waking a thread
# that shares its core takes milliseconds, so small work stays on one.
ONE_THREAD_BELOW = 100_000_000


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` takes CUDA, else Apple's MPS, else the CPU.

    Raises:
        MlrunError: no device of that name, or it is not on this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else _mps_or_cpu()
    if processes.size() > 1 and name.startswith("cuda"):
        if name != "cuda":
            raise MlrunError(f"device={name}: each process takes its own; device=cuda or auto")
        name = f"cuda:{processes.local_rank()}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise MlrunError(f"device={name}: one of auto, cpu, cuda, cuda:1, mps") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise MlrunError(f"device={name}: one of auto, cpu, cuda, cuda:1, mps")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        here = f"cuda:0 … cuda:{count - 1}" if count else "no CUDA device"
        raise MlrunError(f"device={name}: this machine has {here}; device=auto takes what there is")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise MlrunError(
            "device=mps: this machine has no such device; device=auto takes what there is"
        )
    return device


def _mps_or_cpu() -> str:
    return "mps" if torch.backends.mps.is_available() else "cpu"


def choose_threads(multiply_adds: int) -> int:
    """CPU threads for steps of so many multiply-adds; by the work alone, so runs repeat."""
    enough = multiply_adds < ONE_THREAD_BELOW
    return 1 if enough else max(1, usable_cores() // processes.local_size())


def usable_cores() -> int:
    """Those this process may use, where the system says so (Linux); else all there are."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable else os.cpu_count() or 1
