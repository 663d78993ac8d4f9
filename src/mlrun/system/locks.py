"""Locks that end with their process, the leftovers of killed processes, and waiting for the disk.

A temporary file or folder is locked while it is written. So a name with `SUFFIX` that nobody locks
is a leftover, and whoever writes into its folder next removes it.
"""

import errno
import functools
import logging
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

log = logging.getLogger(__name__)

SUFFIX = ".mlrun.tmp"
DAY = 86_400.0  # seconds after which a temporary file counts as a leftover where locks do not work
MISSING = {errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
NO_SYNC = "this folder cannot force data to disk: a crash of the machine may lose the last seconds"
NO_LOCKS = "this folder has no locks: mlrun does not notice if two processes work in it"


def sync(descriptor: int) -> None:
    """Wait until an open file or folder is on disk; warn once where a file system cannot do it.

    Raises:
        OSError: the disk is full or damaged.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in MISSING:
            raise
        _say_once(NO_SYNC)


def take(descriptor: int, *, wait: bool = False) -> bool:
    """Lock an open file until it is closed; warn once where a file system has no locks.

    Args:
        descriptor: the file, open for writing.
        wait: wait until no other process holds the lock.

    Returns:
        False if another process holds the lock.
    """
    try:
        _lock(descriptor, wait=wait)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in MISSING:
            raise
        _say_once(NO_LOCKS)
    return True


def _lock(descriptor: int, *, wait: bool) -> None:
    if sys.platform != "win32":  # which has other locks, and does not delete open files
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


@functools.cache
def _say_once(text: str) -> None:
    log.warning("%s", text)


# --- temporary files and folders ------------------------------------------------------------


def temporary_name(name: str) -> str:
    """Return a new name for a file that will be called `name`."""
    return f".{name[:40]}.{os.urandom(4).hex()}{SUFFIX}"


def mark(descriptor: int | None) -> None:
    """Mark an open temporary file or folder as in use, until it is closed."""
    with suppress(OSError):  # the file system has no locks
        if descriptor is not None:
            _lock(descriptor, wait=True)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Yield a new private folder, which is deleted after the block unless it was renamed."""
    with _folder(parent) as opened:
        remove_leftovers(opened, folders=True)
    path = parent / temporary_name("folder")
    path.mkdir(mode=0o700)
    try:
        with _folder(path) as opened:
            mark(opened)
            path.mkdir(mode=0o700, exist_ok=True)  # it was just taken for a leftover
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _folder(path: Path) -> Iterator[int | None]:
    descriptor = None if os.name == "nt" else os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_leftovers(folder: int | None, *, folders: bool = False) -> None:
    """Delete the user's temporary files that killed processes left in an open folder.

    Args:
        folder: the folder; others may write to it.
        folders: also delete temporary folders; only where nobody else can give a folder their name.
    """
    if folder is None:  # Windows
        return
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if entry.name.endswith(SUFFIX)]
    for name in names:
        with suppress(OSError):  # it has gone, is a link, or belongs to someone else
            _remove_leftover(name, folder, folders)


def _remove_leftover(name: str, folder: int, folders: bool) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.getuid() or _is_in_use(descriptor):
            return
        if stat.S_ISREG(status.st_mode):
            os.unlink(name, dir_fd=folder)
        elif folders and stat.S_ISDIR(status.st_mode):
            shutil.rmtree(name, dir_fd=folder)
    finally:
        os.close(descriptor)


def _is_in_use(descriptor: int) -> bool:
    try:
        _lock(descriptor, wait=False)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:
        return time.time() - os.fstat(descriptor).st_mtime < DAY
    return False
