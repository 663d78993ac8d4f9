"""Whether torchrun started this process, and as which of how many; torch is not imported."""

import os

from mlrun.errors import MlrunError


def size() -> int:
    """How many processes train one model together; 1 without torchrun."""
    return _number("WORLD_SIZE", 1)


def rank() -> int:
    """Which of them this one is; the first one, 0, writes and speaks for all."""
    return _number("RANK", 0)


def local_size() -> int:
    """How many of them are on this machine."""
    return _number("LOCAL_WORLD_SIZE", 1)


def local_rank() -> int:
    """Which of those this one is."""
    return _number("LOCAL_RANK", 0)


def refuse(what: str) -> None:
    """Of what is done by one process.

    Raises:
        MlrunError: there are several.
    """
    if size() > 1:
        raise MlrunError(f"{what}: works in one process only; start it without torchrun")


def _number(name: str, otherwise: int) -> int:
    # Other programs set these, too; the run's id is torchrun's alone.
    return (
        int(os.environ.get(name, otherwise)) if "TORCHELASTIC_RUN_ID" in os.environ else otherwise
    )
