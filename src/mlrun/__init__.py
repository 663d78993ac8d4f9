"""mlrun: config-driven training with PyTorch and Hydra.

From Python: `mlrun.train("task=covid", seed=3)`, `mlrun.load(path)`, `mlrun.sweep(...)`,
`mlrun.resume(path)`; docs/python.md. Importing mlrun imports neither torch nor pandas.
"""

from typing import TYPE_CHECKING, Any

from mlrun.errors import Diverged, JobsFailed, MlrunError
from mlrun.system.signals import Interrupted
from mlrun.version import __version__

if TYPE_CHECKING:
    from mlrun.api import load, resume, sweep, train
    from mlrun.runs.opened import Run

__all__ = [
    "Diverged",
    "Interrupted",
    "JobsFailed",
    "MlrunError",
    "Run",
    "__version__",
    "load",
    "resume",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import the functions of `mlrun.api` at their first use."""
    if name not in __all__:
        raise AttributeError(f"module 'mlrun' has no attribute '{name}'")
    from mlrun import api

    return getattr(api, name)


def __dir__() -> list[str]:
    """Complete the lazily imported names, too."""
    return sorted({*globals(), *__all__})
