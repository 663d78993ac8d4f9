"""Exceptions with messages for users, and helpers for such messages."""

import difflib
from collections import Counter
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


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ' Did you mean 'mlp'?', or an empty string if no choice is similar."""
    likeness = {choice: _likeness(word, choice) for choice in choices}
    best = max(likeness, key=lambda choice: likeness[choice], default="")
    return f" Did you mean '{best}'?" if likeness.get(best, 0.0) >= SIMILAR else ""


SIMILAR = 0.65  # share of common letters; below, the words have little more than letters in common


def _likeness(word: str, choice: str) -> float:
    """Return how similar two words are, from 0 to 1.

    A common beginning up to a dot or slash does not count, and the end of a choice is enough (`mse`
    for `valid/mse`). Words that share only one or two letters are not similar.
    """
    head, tail = _parted(choice)
    given_head, given = _parted(word)
    if given_head not in ("", head):
        tail, given = choice, word
    letters = (Counter(given.lower()) & Counter(tail.lower())).total()
    if letters < min(3, len(given), len(tail)) or not given:
        return 0.0
    ratio = difflib.SequenceMatcher(None, given.lower(), tail.lower()).ratio()
    short, long = sorted((given.lower(), tail.lower()), key=len)
    begins = len(short) >= 3 and long.startswith(short)
    return max(ratio, SIMILAR) if begins else ratio


def _parted(name: str) -> tuple[str, str]:
    """Return the part up to the last dot or slash, and the rest."""
    cut = max(name.rfind("."), name.rfind("/")) + 1
    return name[:cut], name[cut:]
