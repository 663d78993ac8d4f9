"""Open files without following a link: in a folder from someone else, it could lead anywhere.

Such a folder may also change between a check and the use of a file. So `opened` checks the file
that it has opened, not its name, and no path is followed twice: an open folder stays the same.
"""

import errno
import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from mlrun.errors import MlrunError

# 0 where the system does not have them.
NO_LINK, NO_WAIT = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)
BINARY, FOLDER = getattr(os, "O_BINARY", 0), getattr(os, "O_DIRECTORY", 0)
FLAGS = {
    "rb": os.O_RDONLY,
    "xb": os.O_WRONLY | os.O_CREAT | os.O_EXCL,
    "ab": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}
LINKS = (errno.ELOOP, errno.EMLINK, errno.ENOTDIR, errno.ENXIO)  # errors of links and pipes
_RECORDS = ("run.json", "sweep.json")  # the folder of a run or of a sweep has one of them
_distrusted: set[Path] = set()


def distrust(folder: Path) -> None:
    """Follow no link below this folder from now on; the folder itself may be a link."""
    _distrusted.add(folder)


def opened(path: Path, mode: str = "rb") -> BinaryIO:
    """Open a regular file that has no other name, without following a link.

    Args:
        path: the file.
        mode: rb, xb (it must not exist) or ab (it is created if it does not exist).

    Raises:
        MlrunError: it is a link, a pipe or a device, or has several names.
        OSError: it cannot be opened.
    """
    with folder_of(path) as folder, _links_refused(path):
        file = open_in(folder, path, mode)
    status = os.fstat(file.fileno())
    if _has_one_name(status):
        return file
    file.close()
    raise refused(path, status)


def refused(path: Path, status: os.stat_result | None = None) -> MlrunError:
    """Return the error for a link, or for a file that has several names."""
    file = status is not None and stat.S_ISREG(status.st_mode)
    copy = " (the file has another name, too; cp -r makes a copy that has one)" if file else ""
    what = "the folder of a run, a sweep or sample data must not contain links, pipes or devices"
    return MlrunError(f"{path}: refused; {what}{copy}")


# --- whole folders ---


def refuse_links(folder: Path, *, unused: Collection[str] = ()) -> None:
    """Check that there are only files with one name, and folders, below `folder`.

    Args:
        folder: the folder; itself it may be a link.
        unused: names in the folder that mlrun neither reads nor writes.

    Raises:
        MlrunError: naming the first link, pipe or device.
    """
    left = [entry for entry in _entries(str(folder)) if entry.name not in unused]
    while left:
        entry = left.pop()
        if entry.is_dir(follow_symlinks=False):
            left += _entries(entry.path)
            continue
        with suppress(FileNotFoundError):  # the temporary file of a run in training
            status = entry.stat(follow_symlinks=False)
            if not _has_one_name(status):
                raise refused(Path(entry.path), status)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except FileNotFoundError:  # a run in training has removed it
        return []
    except OSError as error:
        raise MlrunError(f"{folder} cannot be read: {error.strerror}") from None


def _has_one_name(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink <= 1


def refuse_link_within(path: Path) -> None:
    """Check that no link inside a run or a sweep leads to `path`; links elsewhere are the user's.

    Raises:
        MlrunError: naming the link.
    """
    for place in (path, *path.parents):
        if place.is_symlink() and any(map(_has_record, place.parents)):
            raise refused(place)


def _has_record(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _RECORDS)


# --- open folders ---


@contextmanager
def folder_of(path: Path) -> Iterator[int | None]:
    """Yield the open folder of a file, for functions with `dir_fd`; None on Windows.

    Raises:
        MlrunError: it is below a distrusted folder, and the way there is a link.
    """
    if os.open not in os.supports_dir_fd:
        yield None
        return
    root = next((at for at in reversed(path.parents) if at in _distrusted), path.parent)
    folder = os.open(root, os.O_RDONLY | FOLDER)
    try:
        for part in path.parent.relative_to(root).parts:
            with _links_refused(path):
                inner = os.open(part, os.O_RDONLY | FOLDER | NO_LINK, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def open_in(folder: int | None, path: Path, mode: str) -> BinaryIO:
    """Open a file of an open folder, without following a link; the modes are those of `opened`."""

    def opener(*_: Any) -> int:
        flags = FLAGS[mode] | NO_LINK | NO_WAIT | BINARY
        return os.open(name_in(folder, path), flags, 0o666, dir_fd=folder)

    return cast(BinaryIO, open(path, mode, opener=opener))


def name_in(folder: int | None, path: Path) -> str:
    """Return what names a file for functions with `dir_fd`."""
    return str(path) if folder is None else path.name


@contextmanager
def _links_refused(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in LINKS:
            raise refused(path) from None
        raise
