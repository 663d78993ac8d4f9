"""Overrides with column names as people type them: data.target=2021, data.target=Preis (€).

Hydra reads 2021 as a number and cannot read a blank, a bracket or another script without quotes;
a column name is text. Words that are text for Hydra already stay as they are.
"""

import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

NAME = (
    *("data.target", "data.id", "data.prediction", "data.split.column"),
    *("data.train", "data.test", "data.dir", "data.comment", "data.separator"),
)
NAMES = ("data.drop", "data.features", "data.categorical", "data.na_values")


def with_quoted_names(words: Sequence[str]) -> list[str]:
    """Return the words, with quotes around column names that Hydra would not read as text."""
    return [_quoted(word) for word in words]


def _quoted(word: str) -> str:
    key, equals, value = word.partition("=")
    bare = key.lstrip("+")
    if not equals or bare not in (*NAME, *NAMES) or value.strip() in ("", "null", "???"):
        return word
    parsed = _parsed(word)
    if bare in NAME:
        swept = parsed is not None and parsed.is_choice_sweep()
        names = [part.strip() for part in value.split(",")] if swept else [value]
        if parsed is not None and not any(map(_is_other, _values(parsed))):
            return word
        return f"{key}={','.join(map(_text, names))}"
    if not (value.startswith("[") and value.endswith("]")):
        return word
    if parsed is not None and not _lists_others(parsed):
        return word
    names = [part.strip() for part in value[1:-1].split(",")]
    return f"{key}=[{','.join(map(_text, names))}]"


def _parsed(word: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None


def _lists_others(parsed: Override) -> bool:
    return parsed.value_type is ValueType.ELEMENT and any(map(_is_other, _values(parsed)))


def _values(parsed: Override) -> list[object]:
    """Return the single value, the entries of the list, or the choices of a sweep."""
    value = parsed.value()
    if parsed.is_choice_sweep():
        return list(getattr(value, "list", []))
    return list(value) if isinstance(value, list) else [value]


def _is_other(value: object) -> bool:
    """Whether Hydra read a name as a number or a flag."""
    return isinstance(value, int | float)


def _text(name: str) -> str:
    """Return a name in quotes, unless it has some."""
    if re.fullmatch(r"'.*'|\".*\"", name):
        return name
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
