"""The provenance of a run: time, versions, commit, data files."""

import functools
import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mlrun.system.git import git_state
from mlrun.version import __version__

PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "hydra-core", "omegaconf")


def now() -> str:
    """Return the time as text, e.g. 2025-01-31T23:59:59+00:00."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance_of(files: Mapping[str, Path]) -> dict[str, Any]:
    """Return the provenance entries of run.json: data, versions, git."""
    return {"data": data_files(files), "versions": versions(), "git": git_state()}


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


@dataclass(frozen=True)
class DataFile:
    """The entry of run.json for a data file."""

    role: str  # train, test, train_images …
    path: str
    sha256: str
    bytes: int


def data_files(files: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Return role, path, SHA-256 and size of each file."""
    return [
        asdict(DataFile(role, str(path.resolve()), sha256(path), path.stat().st_size))
        for role, path in files.items()
    ]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; cached while the file does not change."""
    status = path.stat()
    return _sha256(path.resolve(), status.st_ino, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
