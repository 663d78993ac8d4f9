"""run.log, and where else the messages of mlrun go."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlrun.errors import MlrunError
from mlrun.system.no_links import opened
from mlrun.system.safe_text import SafeFormatter

log = logging.getLogger("mlrun")


@contextmanager
def log_taken_over(*handlers: logging.Handler) -> Iterator[None]:
    """Send mlrun's messages only to these handlers; restore the logger afterwards."""
    before = log.handlers, log.level, log.propagate
    log.handlers, log.propagate = [*handlers], False
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.handlers, log.level, log.propagate = before


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Log only to this file inside the block.

    Raises:
        MlrunError: the file cannot be written.
    """
    file = log_file(path)
    with log_taken_over(file):
        try:
            yield
        finally:
            file.close()


class _LogFile(logging.StreamHandler[io.TextIOWrapper]):
    """Appends lines to a file."""

    def __init__(self, path: Path) -> None:
        file = opened(path, "ab")
        super().__init__(io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace"))

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):
            self.stream.close()
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Print nothing about a full disk; the next checkpoint reports it."""


def log_file(path: Path) -> logging.Handler:
    """Return a handler that appends lines with their time to a file.

    Raises:
        MlrunError: the file cannot be written.
    """
    try:
        file = _LogFile(path)
    except OSError as error:
        raise MlrunError(f"cannot write {path}: {error.strerror}") from None
    file.setFormatter(SafeFormatter("%(asctime)s %(levelname)-7s %(message)s"))
    return file
