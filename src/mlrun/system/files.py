"""Atomic writes, JSON and CSV texts, and errors for damaged files."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlrun.errors import MlrunError
from mlrun.system.secrets import redact, secrets


def write_atomically(
    path: Path, content: bytes, *, keep: Path | None = None, durable: bool = True
) -> None:
    """Write `content` to `path` atomically: the file is either complete or unchanged.

    Args:
        path: the file.
        content: the complete content.
        keep: the path to move the previous file to.
        durable: wait for the disk, so that the file also survives a power failure.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:  # x: do not follow an existing link
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if keep is not None and path.exists():
            path.replace(keep)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder for fsync
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises:
        MlrunError: the file is unreadable or not valid JSON.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise MlrunError(f"{path} is damaged: {error}") from None


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        MlrunError: the file is unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise MlrunError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise MlrunError(f"{path} is damaged: {error}") from None


def as_json(value: Any) -> bytes:
    """Return readable JSON without secrets; NaN and infinite numbers become null."""
    return (json.dumps(_writable(value, secrets()), indent=2, ensure_ascii=False) + "\n").encode()


def as_line(value: Any) -> bytes:
    """Return the JSON of `as_json` on one line."""
    return (json.dumps(_writable(value, secrets()), ensure_ascii=False) + "\n").encode()


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
    """Return rows as CSV text, one line per row."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


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
            else f"not a complete model ({type(error).__name__})"
        )
        reason = f"it has no {error}" if isinstance(error, KeyError) else reason
        raise MlrunError(f"{path} is damaged: {reason}") from error
