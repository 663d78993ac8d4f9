"""The one way of texts to people: without secrets and without control characters."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from mlrun.system.plain_text import plain
from mlrun.system.secrets import hide_in_text


def safe(text: object) -> str:
    """Return a text for a terminal or a log: without secrets, control characters written out."""
    return plain(hide_in_text(str(text)))


def reason(error: BaseException) -> str:
    """Return the message of an error as a safe text; its class if it has none."""
    return safe(error) or type(error).__name__


def say(text: object, *, error: bool = False, end: str = "\n") -> None:
    """Print a text to standard output, or to standard error."""
    (sys.stderr if error else sys.stdout).write(safe(text) + end)


class SafeFormatter(logging.Formatter):
    """Formats lines and tracebacks for a terminal or a log."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the safe text of a record."""
        return safe(super().format(record))


class _WithoutSecrets:
    """A stream that hides secrets in what anyone prints; colours and progress bars stay."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(hide_in_text(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def safe_streams() -> Iterator[None]:
    """In this block, Python's warnings and the log lines of all packages are safe.

    Nothing prints a secret, not even the user's own classes and Hydra.
    """
    make, spell = logging.getLogRecordFactory(), warnings.formatwarning
    streams: Any = sys.stdout, sys.stderr

    def record(*arguments: Any, **named: Any) -> logging.LogRecord:
        made = make(*arguments, **named)
        with suppress(TypeError, ValueError):  # the arguments do not fit: logging reports it
            made.msg, made.args = safe(made.getMessage()), ()
        return made

    logging.setLogRecordFactory(record)
    warnings.formatwarning = lambda *arguments, **named: safe(spell(*arguments, **named))
    sys.stdout, sys.stderr = map(_WithoutSecrets, streams)
    try:
        yield
    finally:
        logging.setLogRecordFactory(make)
        warnings.formatwarning = spell
        sys.stdout, sys.stderr = streams
