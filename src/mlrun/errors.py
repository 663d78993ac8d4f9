"""Exceptions with messages for users, and helpers for such messages."""

import difflib
from collections.abc import Iterable


class MlrunError(Exception):
    """A user error: printed as one or two lines without a traceback; exit code 2."""


class Diverged(Exception):
    """The loss became NaN or infinite; the last finite weights are kept; exit code 1."""


class JobsFailed(Exception):
    """Some jobs of a sweep failed, and the reasons were printed; exit code 1."""


class FailedFast(Exception):
    """A job of a sweep failed and `sweep.fail_fast` is set; the other jobs can be resumed."""

    def __init__(self) -> None:
        super().__init__("another job of the sweep failed")


def one_line(message: object) -> str:
    """Return the message with control characters escaped, so that they cannot affect a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(message))


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ' Did you mean 'mlp'?', or an empty string if no choice is similar."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""
