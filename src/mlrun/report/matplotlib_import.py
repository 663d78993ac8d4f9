"""Import matplotlib, whatever MPLBACKEND is: mlrun draws without a backend.

matplotlib would also read a file `matplotlibrc` in the current folder, which may come from a
stranger, and whose settings start programs (LaTeX).
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


def _import_matplotlib() -> None:
    """Import it like a program does, but ignore a wrong backend and print nothing."""
    backend, log = os.environ.pop("MPLBACKEND", ""), logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with _no_settings_from_here():
            import matplotlib.figure
    finally:
        log.setLevel(level)
        if backend:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


@contextmanager
def _no_settings_from_here() -> Iterator[None]:
    """Hide ./matplotlibrc, the first place that matplotlib looks at, and no option turns off."""
    exists: Any = os.path.exists
    os.path.exists = lambda path: path != "matplotlibrc" and exists(path)
    try:
        yield
    finally:
        os.path.exists = exists


if "matplotlib" not in sys.modules:
    _import_matplotlib()
