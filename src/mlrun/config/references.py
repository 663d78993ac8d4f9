"""Limit what references may describe: a few lines of them can describe billions of values.

`x1: ${x0}${x0}`, `x2: ${x1}${x1}` … doubles with each line. So each reference counts for the values
in the node that it leads to, or for its text, and OmegaConf resolves no more than the limit.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from omegaconf import Container, OmegaConf
from omegaconf.basecontainer import BaseContainer
from omegaconf.errors import InterpolationResolutionError

from mlrun.config.yaml_loader import MOST_VALUES

LETTERS = 100  # of a text that count as one value
EACH = 20  # values for which each reference counts: it takes time


@dataclass
class _Count:
    """The values so far that references have described."""

    values: int = 0

    def add(self, found: Any) -> None:
        """Count what a reference leads to.

        Raises:
            InterpolationResolutionError: it is too much.
        """
        self.values += EACH + _size(found)
        if self.values > MOST_VALUES:
            raise InterpolationResolutionError(
                f"its references describe more than {MOST_VALUES} values"
            )


_count: ContextVar[_Count | None] = ContextVar("values of references in this block", default=None)


@contextmanager
def limited_references() -> Iterator[None]:
    """Let OmegaConf refuse references in this block that together describe too much."""
    token = _count.set(_Count())
    try:
        with limited_reference():
            yield
    finally:
        _count.reset(token)


@contextmanager
def limited_reference() -> Iterator[None]:
    """Let OmegaConf refuse any single reference in this block that describes too much."""
    resolve = BaseContainer.resolve_parse_tree

    def counted(container: BaseContainer, *arguments: Any, **named: Any) -> Any:
        count = _count.get()
        token = _count.set(count or _Count())
        try:
            found = resolve(container, *arguments, **named)
            if (inside := _count.get()) is not None:
                inside.add(found)
        finally:
            _count.reset(token)
        return found

    BaseContainer.resolve_parse_tree = counted  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        BaseContainer.resolve_parse_tree = resolve  # type: ignore[method-assign]


def _size(found: Any) -> int:
    if isinstance(found, Container):
        return _values(OmegaConf.to_container(found))
    return len(found) // LETTERS if isinstance(found, str) else 0


def _values(plain: Any) -> int:
    entries = plain.values() if isinstance(plain, dict) else plain
    return 1 + sum(map(_values, entries)) if isinstance(plain, dict | list) else 1
