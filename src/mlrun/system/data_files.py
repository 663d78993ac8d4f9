"""Which content a data file had when it was read: its SHA-256, and whether it changed meanwhile."""

import functools
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlrun.errors import MlrunError


@dataclass(frozen=True)
class DataFile:
    """The entry of run.json for a data file."""

    role: str  # train, test, train_images …
    path: str
    sha256: str
    bytes: int


def data_files(files: Mapping[str, Path]) -> tuple[DataFile, ...]:
    """Return role, path, SHA-256 and size of each file."""
    return tuple(
        DataFile(role, str(path.resolve()), sha256(path), path.stat().st_size)
        for role, path in files.items()
    )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; cached while the file does not change."""
    return _sha256(path.resolve(), _version(path))


@functools.lru_cache(maxsize=64)
def _sha256(path: Path, _: tuple[int, ...]) -> str:
    return sha256_now(path)


def sha256_now(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; always read it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def unchanged(*files: Path) -> Iterator[None]:
    """Check that files do not change while the block reads them.

    Raises:
        MlrunError: a file has changed; also instead of an error that this caused.
    """
    before, error = [_version(path) for path in files], None
    try:
        yield
    except Exception as raised:
        error = raised
    for path, version in zip(files, before, strict=True):
        if _version(path) != version:
            raise changed(path) from error
    if error is not None:
        raise error


def changed(path: Path) -> MlrunError:
    """Return the error for a file that changes while it is read."""
    return MlrunError(f"{path} changed while it was read: wait until it is written, or copy it")


def _version(path: Path) -> tuple[int, ...]:
    """Return what changes with the content of a file; () if there is no file."""
    try:
        now = path.stat()
    except OSError:
        return ()
    return now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns
