"""The process group under torchrun: size and rank; does not import torch."""

import os

from mlrun.errors import MlrunError


def size() -> int:
    """Return the number of processes that train one model; 1 without torchrun."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """Return the rank of this process; rank 0 writes all files and prints all messages."""
    return _number("RANK", 0)


def local_size() -> int:
    """Return the number of processes on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1)


def local_rank() -> int:
    """Return the rank of this process on this machine."""
    return _number("LOCAL_RANK", 0)


def refuse(what: str) -> None:
    """Reject `what` in a process group.

    Raises:
        MlrunError: there are several processes.
    """
    if size() > 1:
        raise MlrunError(f"{what}: works in one process only; start it without torchrun")


def _number(name: str, otherwise: int) -> int:
    # Other programs set these variables, too; only torchrun sets TORCHELASTIC_RUN_ID.
    return (
        int(os.environ.get(name, otherwise)) if "TORCHELASTIC_RUN_ID" in os.environ else otherwise
    )
