"""What a run was made of: versions, commit, data files."""

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mlrun import __version__

PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "hydra-core", "omegaconf")


def versions() -> dict[str, str]:
    """Of mlrun, Python and what computes."""
    found = {"mlrun": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # vendored or built from source without metadata
            found[name] = "unknown"
    return found


def git_state() -> dict[str, Any] | None:
    """The commit of the repository the run was started in, and whether files differ from it."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):  # no git, no repository, no commit yet
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


@dataclass(frozen=True)
class DataFile:
    """What run.json says of a file the run was made from."""

    role: str  # train, test, train_images …
    path: str
    sha256: str
    bytes: int


def data_files(files: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Role, place, SHA-256 and size of each file."""
    return [
        asdict(DataFile(role, str(path.resolve()), sha256(path), path.stat().st_size))
        for role, path in files.items()
    ]


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
