"""Replace what is written, read small files; JSON and CSV texts, errors for damaged files."""

import csv
import errno
import io
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from mlrun.errors import MlrunError
from mlrun.system.locks import mark, remove_leftovers, sync, temporary_name
from mlrun.system.no_links import folder_of, name_in, open_in, opened
from mlrun.system.plain_text import plain, plain_json
from mlrun.system.secrets import SHORTEST, redact, secrets


def write_atomically(
    path: Path, content: bytes, *, keep: Path | None = None, durable: bool = True
) -> None:
    """Write `content` to `path`; the arguments are those of `replaced`."""
    with replaced(path, keep=keep, durable=durable) as file:
        file.write(content)


@contextmanager
def replaced(path: Path, *, keep: Path | None = None, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield a file that replaces `path` after the block; after an error the old file stays.

    Readers find the old or the new file, never a part of one. Leftovers of killed processes in the
    folder are removed.

    Args:
        path: the file.
        keep: the path in the same folder to move the previous file to.
        durable: wait for the disk, so that the file also survives a power failure.
    """
    with folder_of(path) as folder:
        remove_leftovers(folder)
        with _temporary(path, folder) as file:
            yield file
            file.flush()
            if durable:
                sync(file.fileno())
            if os.name == "nt":  # it renames no open file
                file.close()
            if keep is not None:
                with suppress(FileNotFoundError):
                    _rename(folder, path, keep)
            _rename(folder, Path(file.name), path)
        if durable and folder is not None:
            sync(folder)


def move(path: Path, target: Path) -> None:
    """Rename a file within its folder, without following a link."""
    with folder_of(path) as folder:
        _rename(folder, path, target)


def remove(path: Path) -> None:
    """Delete a file, without following a link."""
    with folder_of(path) as folder:
        os.unlink(name_in(folder, path), dir_fd=folder)


@contextmanager
def _temporary(path: Path, folder: int | None) -> Iterator[BinaryIO]:
    """Yield a new file in the folder of `path`; it is gone after an error."""
    while True:
        file = open_in(folder, path.with_name(temporary_name(path.name)), "xb")
        mark(file.fileno())
        if os.fstat(file.fileno()).st_nlink:  # otherwise it was taken for a leftover
            break
        file.close()
    with file:
        try:
            yield file
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(name_in(folder, Path(file.name)), dir_fd=folder)
            raise


def _rename(folder: int | None, path: Path, target: Path) -> None:
    names = name_in(folder, path), name_in(folder, target)
    os.replace(*names, src_dir_fd=folder, dst_dir_fd=folder)


# --- files that the user names --------------------------------------------------------------


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """Like `replaced`, for a path that the user names.

    "-" is standard output; a pipe or a device is written to; a link leads to the file to replace.
    """
    if is_standard_output(path):
        sys.stdout.flush()
        with os.fdopen(os.dup(1), "wb") as file:
            yield file
    elif (target := file_at(path)) is not None:
        with replaced(target) as file:
            yield file
    else:
        with os.fdopen(os.open(path, os.O_WRONLY), "wb") as file:
            yield file


def is_standard_output(path: Path) -> bool:
    """Whether this is "-", or leads to the same file or pipe as standard output."""
    if str(path) == "-":
        return True
    try:
        return os.path.samestat(path.stat(), os.fstat(1))
    except OSError:
        return False


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Report that the file that `--output` names cannot be written.

    Raises:
        MlrunError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, BrokenPipeError) and is_standard_output(path):
            raise
        name = "standard output" if str(path) == "-" else path
        raise MlrunError(f"cannot write {name}: {error.strerror}; see --output") from None


def file_at(path: Path) -> Path | None:
    """Return the file to which a path leads, also through links; None: a pipe or a device.

    Raises:
        OSError: it is a folder, a disk or a socket.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path.resolve()
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "neither a file nor a pipe", str(path))
    return path.resolve()


# --- texts ----------------------------------------------------------------------------------


def read_json(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises:
        MlrunError: the file is unreadable or not valid JSON.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise MlrunError(f"{path} is damaged: {error}") from None


def read_bytes(path: Path) -> bytes:
    """Return the content of a file; see `opened`."""
    with opened(path) as file:
        return file.read()


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        MlrunError: the file is unreadable or not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8")
    except OSError as error:
        raise MlrunError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise MlrunError(f"{path} is damaged: {error}") from None


def as_json(value: Any) -> bytes:
    """Return readable JSON without secrets; NaN and infinite numbers become null."""
    return _json(value, indent=2)


def as_line(value: Any) -> bytes:
    """Return the JSON of `as_json` on one line."""
    return _json(value, indent=None)


def _json(value: Any, *, indent: int | None) -> bytes:
    # A short secret may also be a word that mlrun reads again, such as "test".
    writable = _writable(value, secrets(SHORTEST))
    return (plain_json(json.dumps(writable, indent=indent, ensure_ascii=False)) + "\n").encode()


def _writable(value: Any, hidden: Sequence[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _writable(entry, hidden) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(entry, hidden) for entry in value]
    if isinstance(value, str):
        return redact(value, hidden)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def csv_rows(rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as CSV text, one line per row; control characters are written out."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return plain(text.getvalue())


@contextmanager
def writing_explained(folder: Path) -> Iterator[None]:
    """Report that a file of the folder cannot be written as a user error.

    Raises:
        MlrunError: instead of the system's error.
    """
    try:
        yield
    except OSError as error:
        raise MlrunError(f"cannot write {error.filename or folder}: {error.strerror}") from error


@contextmanager
def blamed_on(path: Path) -> Iterator[None]:
    """Report every exception of this block as damage of the file.

    Raises:
        MlrunError: instead of any other exception.
    """
    try:
        yield
    except MlrunError as error:
        raise MlrunError(f"{path}: {error}") from error
    except Exception as error:
        # Python's messages about wrong types do not help a user; torch's do.
        message = str(error) if isinstance(error, RuntimeError | ValueError) else ""
        reason = (
            message.splitlines()[0][:200]
            if message
            else f"it is not complete ({type(error).__name__})"
        )
        reason = f"it has no {error}" if isinstance(error, KeyError) else reason
        raise MlrunError(f"{path} is damaged: {reason}") from error
