"""Crashes at the places that mlrun.system.seams names."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from mlrun.system.seams import Place, listening

Facts = dict[str, Any]


class Crash(BaseException):
    """Stands for a kill: nothing of ours runs after it."""


@contextmanager
def crashing_at(place: Place, when: Callable[[Facts], bool]) -> Iterator[None]:
    """Crash at a place; files of runs that are open then are left as they are.

    Args:
        place: where.
        when: gets the facts each time the place is reached; returns whether to crash.
    """
    crashed = []

    def crash(facts: Facts) -> None:
        if when(facts):
            crashed.append(True)
            raise Crash

    def stay_crashed(_: Facts) -> None:
        if crashed:
            raise Crash

    with ExitStack() as stack:
        stack.enter_context(listening(Place.RECORD_CLOSING, stay_crashed))
        stack.enter_context(listening(place, crash))
        stack.enter_context(pytest.raises(Crash))
        yield


def raising(error: BaseException) -> Callable[[Facts], None]:
    """A listener that raises the error each time."""

    def fail(_: Facts) -> None:
        raise error

    return fail
