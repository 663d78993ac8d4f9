"""What a user did wrong, in the user's words."""

import difflib
from collections.abc import Iterable


class MlrunError(Exception):
    """A user's mistake: shown as one or two lines without a traceback; exit code 2."""


class Diverged(Exception):
    """The loss is no longer a finite number; the last good weights are kept; exit code 1."""


class JobsFailed(Exception):
    """Some jobs of a sweep failed, which has been told; exit code 1."""


class FailedFast(Exception):
    """A job of a sweep failed and `sweep.fail_fast` is set; the others can go on another time."""

    def __init__(self) -> None:
        super().__init__("another job of the sweep failed")


def one_line(message: object) -> str:
    """The message for the terminal: what a file or a name smuggled in moves no cursor there."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(message))


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """' Did you mean 'mlp'?', or nothing when no choice comes close."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""
