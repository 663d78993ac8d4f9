"""Files written whole or not at all, JSON and CSV texts, and what damaged files lead to."""

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
    """Put `content` at `path` so that it is there whole or not at all.

    Args:
        path: the file.
        content: all of it.
        keep: where to the file that stood there before is moved.
        durable: also if the power is cut; the disk is waited for.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as file:  # x: never through a link that waits there
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
    """The value a JSON file holds.

    Raises:
        MlrunError: there is none.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise MlrunError(f"{path} is damaged: {error}") from None


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        MlrunError: there is none.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise MlrunError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise MlrunError(f"{path} is damaged: {error}") from None


def as_json(value: Any) -> bytes:
    """Readable JSON; numbers that are not finite become null, and no secret is in it."""
    return (json.dumps(_writable(value, secrets()), indent=2, ensure_ascii=False) + "\n").encode()


def as_line(value: Any) -> bytes:
    """`as_json` on one line."""
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
    """Rows as CSV text, one line each."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


@contextmanager
def blamed_on(path: Path) -> Iterator[None]:
    """Whatever goes wrong while a file's content is put together, the file is why.

    Raises:
        MlrunError: instead of any other exception.
    """
    try:
        yield
    except MlrunError as error:
        raise MlrunError(f"{path}: {error}") from error
    except Exception as error:
        # Python's words for a value of a wrong kind would tell nobody anything; torch's do.
        told = str(error) if isinstance(error, RuntimeError | ValueError) else ""
        reason = (
            told.splitlines()[0][:200] if told else f"not a whole model ({type(error).__name__})"
        )
        reason = f"it has no {error}" if isinstance(error, KeyError) else reason
        raise MlrunError(f"{path} is damaged: {reason}") from error
