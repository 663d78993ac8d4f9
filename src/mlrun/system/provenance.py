"""What a run was made of: versions, commit, data files."""

import functools
import hashlib
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mlrun.version import __version__

PACKAGES = ("torch", "numpy", "pandas", "scikit-learn", "hydra-core", "omegaconf")


def made_of(files: Mapping[str, Path]) -> dict[str, Any]:
    """What run.json says of this: data, versions, git."""
    return {"data": data_files(files), "versions": versions(), "git": git_state()}


@functools.cache  # of what is installed
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
        return {"commit": commit, "dirty": _dirty()}
    except (OSError, subprocess.SubprocessError):  # no git, no repository, no commit yet
        return None


def _dirty() -> bool | None:
    """None where the repository's own configuration names programs that git would run to tell.

    The folder may be a stranger's; https://git-scm.com/docs/git-config lists such settings.
    """
    own = _git("config", "--local", "--includes", "--name-only", "--list").lower().splitlines()
    if any(name.startswith(("filter.", "core.fsmonitor", "core.hookspath")) for name in own):
        return None
    return bool(_git("status", "--porcelain", "--ignore-submodules=all"))


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
    """The file's SHA-256, in hexadecimal; computed once for a file that stays as it is."""
    status = path.stat()
    return _sha256(path.resolve(), status.st_ino, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
