"""Standard output and error of the command, also where they are closed, full or ASCII."""

import io
import os
import select
import sys
from pathlib import Path
from typing import Any, TextIO

_lost: list[OSError] = []  # why standard output could not be written


def prepare_streams() -> None:
    """Let printing raise no error but BrokenPipeError."""
    if os.name == "nt":  # whose consoles have streams of their own
        return
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file would get its number, and all that is printed
            os.open(os.devnull, os.O_RDONLY)
    sys.stdout, sys.stderr = _prepared(sys.stdout, _Output), _prepared(sys.stderr, _Messages)


def end_streams() -> bool:
    """Print what is left; return whether all of it could be printed, or its reader has exited."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        mute_stdout()
    return not _lost


def mute_stdout() -> None:
    """Discard further output, because its reader has exited (`mlrun … | head`)."""
    _mute(sys.stdout.fileno())


def _mute(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def _prepared(stream: TextIO | None, kind: "type[_Messages]") -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):  # closed
        return Path(os.devnull).open("w", encoding="utf-8")
    return io.TextIOWrapper(
        io.BufferedWriter(kind(stream.fileno(), "w", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,
    )


class _Messages(io.FileIO):
    """A stream that discards everything after the first error."""

    def write(self, content: Any) -> int:
        try:
            while (written := super().write(content)) is None:  # full, and set not to wait
                select.select([], [self], [])
            return written
        except OSError as error:
            self.report(error)
            _mute(self.fileno())
            return len(content)

    def report(self, error: OSError) -> None:
        """Called with the first error."""


class _Output(_Messages):
    def report(self, error: OSError) -> None:
        if isinstance(error, BrokenPipeError):
            raise error
        _lost.append(error)
        sys.stderr.write(f"error: cannot write standard output: {error.strerror}\n")
        sys.stderr.flush()
