"""The loader of YAML files: fast, and it refuses a file that would fill the memory.

A few lines can describe billions of values by repeating names (`&a`, `*a`), and brackets nested
deep enough crash Python. So the events of a file are counted before anything is built from it.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from mlrun.errors import MlrunError

MOST_VALUES = 100_000
DEEPEST = 50
LONGEST = 400  # digits of a number; Python takes minutes for very long ones, or refuses them
_NUMBER = re.compile(r"[-+]?\d[\w:.]*", re.ASCII)
_Fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class LimitedLoader(_Fast):  # type: ignore[misc]
    """Like yaml.SafeLoader, in C where PyYAML has it."""

    def __init__(self, stream: Any) -> None:
        text = stream if isinstance(stream, str) else stream.read()
        if problem := _problem(text):
            raise MlrunError(f"{getattr(stream, 'name', 'a YAML file')}: refused; {problem}")
        super().__init__(text)


def read_yaml(file: Path) -> Any:
    """Return the values in a YAML file.

    Raises:
        MlrunError: it describes too many values.
        yaml.YAMLError: it is malformed.
    """
    with file.open(encoding="utf-8", errors="replace") as stream:
        return yaml.load(stream, LimitedLoader)


def _problem(text: str) -> str:
    """Say what is wrong with the size of a document when its repetitions are written out."""
    sizes: dict[str, int] = {}  # anchor → values
    inside: list[tuple[str | None, int]] = []  # of each open collection: anchor, values before it
    total = 0
    for event in yaml.parse(text, Loader=_Fast):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = inside.pop()
            sizes |= {anchor: total - before} if anchor else {}
            continue
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                return f"*{event.anchor} refers to itself"
            total += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if isinstance(event, yaml.ScalarEvent) and (problem := _odd(event.value)):
                return problem
            if isinstance(event, yaml.CollectionStartEvent):
                inside.append((event.anchor, total - 1))
            elif event.anchor:
                sizes[event.anchor] = 1
        if total > MOST_VALUES:
            return f"it describes more than {MOST_VALUES} values"
        if len(inside) > DEEPEST:
            return f"its values are nested more than {DEEPEST} times"
    return ""


def _odd(text: str) -> str:
    """Say what is wrong with a single value."""
    if "\0" in text:
        return "it has a text with a zero byte"
    too_long = len(text) > LONGEST and _NUMBER.fullmatch(text)
    return f"it has a number of more than {LONGEST} digits" if too_long else ""
