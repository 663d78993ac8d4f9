"""The provenance of a run: time, versions, commit."""

import functools
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mlrun.system.data_files import DataFile
from mlrun.system.git import git_state
from mlrun.version import __version__

PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "hydra-core", "omegaconf")


def now() -> str:
    """Return the time as text, e.g. 2025-01-31T23:59:59+00:00."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance_of(files: Sequence[DataFile]) -> dict[str, Any]:
    """Return the provenance entries of run.json: data, versions, git."""
    data = [asdict(file) for file in files]
    return {"data": data, "versions": versions(), "git": git_state()}


@functools.cache  # installed packages do not change
def versions() -> dict[str, str]:
    """Return the versions of mlrun, Python and the numerical packages."""
    found = {"mlrun": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # vendored or built from source without metadata
            found[name] = "unknown"
    return found
