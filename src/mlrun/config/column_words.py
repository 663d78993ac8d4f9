"""Overrides with column names as people type them: data.target=2021, data.target=Preis (€).

Hydra reads 2021 as a number and cannot read a blank, a bracket or another script without quotes;
a column name is text. Words that are text for Hydra already stay as they are.
"""

import re
from collections.abc import Sequence
from types import NoneType

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import HydraException

NAME = (
    *("data.target", "data.id", "data.prediction", "data.split.column"),
    *("data.train", "data.test", "data.dir", "data.comment", "data.separator"),
)
NAMES = ("data.drop", "data.features", "data.categorical", "data.na_values")


QUOTED = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
CHOICE = re.compile(rf"(?:{QUOTED}|\[(?:{QUOTED}|[^\]])*\]|[^,])+")  # between commas at the top


def with_quoted_names(words: Sequence[str], *, sweep: bool) -> list[str]:
    """Return the words, with quotes around column names that Hydra would not read as text.

    Args:
        words: the command line.
        sweep: whether commas separate the values of jobs.
    """
    return [_quoted(word, sweep) for word in words]


def _quoted(word: str, sweep: bool) -> str:
    key, equals, value = word.partition("=")
    bare = key.lstrip("+")
    if not equals or bare not in (*NAME, *NAMES) or value.strip() in ("", "null", "???"):
        return word
    parsed = _parsed(word)
    others = (int, float, NoneType) if bare in NAMES else (int, float)  # [null]: a word for a gap
    if parsed is not None and not any(isinstance(one, others) for one in _values(parsed.value())):
        return word
    call = re.fullmatch(r"choice\((.*)\)", value)  # Hydra drops the quotes within it
    several = call is not None or sweep or (parsed is not None and parsed.is_choice_sweep())
    inner = call[1] if call is not None else value
    choices = CHOICE.findall(inner) if several else [inner]
    quote = _name if bare in NAME else _list
    return f"{key}={','.join(quote(choice.strip()) for choice in choices)}"


def _parsed(word: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None


def _values(value: object) -> list[object]:
    """Return the single value, the entries of a list, or those of the choices of a sweep."""
    entries = value.list if isinstance(value, ChoiceSweep) else value
    if not isinstance(entries, list):
        return [entries]
    return [one for entry in entries for one in _values(entry)]


def _list(text: str) -> str:
    """Return a list of names, each in quotes; anything else stays as it is."""
    if not (text.startswith("[") and text.endswith("]")):
        return text
    return f"[{','.join(_text(name.strip()) for name in CHOICE.findall(text[1:-1]))}]"


def _name(text: str) -> str:
    return text if text == "null" else _text(text)


def _text(name: str) -> str:
    """Return a name in quotes, unless it has some."""
    if re.fullmatch(r"'.*'|\".*\"", name):
        return name
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
