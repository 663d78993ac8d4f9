"""Import matplotlib, whatever MPLBACKEND is: mlrun draws without a backend."""

import logging
import os
import sys
from contextlib import suppress


def _import_matplotlib() -> None:
    """Import it like a program does, but ignore a wrong backend and print nothing."""
    backend, log = os.environ.pop("MPLBACKEND", ""), logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        import matplotlib.figure
    finally:
        log.setLevel(level)
        if backend:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with suppress(ValueError):
            matplotlib.rcParams["backend"] = backend


if "matplotlib" not in sys.modules:
    _import_matplotlib()
