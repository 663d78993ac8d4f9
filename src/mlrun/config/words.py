"""Words of the command line, KEY=VALUE: written from values, and without secrets."""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from mlrun.system.secrets import (
    HIDDEN,
    hide,
    hide_in_text,
    is_secret,
    remember,
    secrets,
    without_addresses,
)

_NAMES = re.compile(r"[\w.@-]+(?=['\"]?\s*[:=])")
_SECRET = "secret"  # a name for texts that are one as a whole


def words_of(overrides: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """Return overrides and keyword settings as command-line words.

    `trainer={"epochs": 5}` becomes `trainer.epochs=5`; None becomes null; texts are quoted.
    """
    return [*overrides, *(word for key, value in settings.items() for word in _words(key, value))]


def _words(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, entry in value.items():
            yield from _words(f"{key}.{name}", entry)
    else:
        yield f"{key}={spelled(value)}"


def spelled(value: Any) -> str:
    """Write a value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(spelled, value))}]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}: {spelled(entry)}" for name, entry in value.items()) + "}"
    return quoted(str(value)) if isinstance(value, str | Path) else str(value)


def quoted(text: str) -> str:
    """Write a text in quotes; in Hydra's grammar backslashes count only before a quote."""
    inside = re.sub(r"(\\*)'", lambda found: found[1] * 2 + r"\'", text)
    return "'" + re.sub(r"\\+$", lambda found: found[0] * 2, inside) + "'"


# --- secrets ---


def hide_in_words(words: Sequence[str]) -> list[str]:
    """Return the words without secrets: hidden in the values that Hydra reads, however spelled."""
    known = secrets()
    return [hide_in_text(_hidden(word), known) for word in words]


def remember_words(words: Sequence[str]) -> None:
    """Keep the secrets of a command line, so that no message repeats them."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        key, equals, value = word.partition("=")
        if not equals and key.startswith("--") and is_secret(key):  # of another program
            remember(following, _SECRET)
        elif equals and (_names_a_secret(word) or ":/" in word):
            _remember_word(word, _name(key), value)


def _remember_word(word: str, name: str, typed: str) -> None:
    values = _values(word)
    for value in values or []:
        remember(value, name)
    if values is None:
        remember(typed, _SECRET if _names_a_secret(word) else name)
    elif values and all(hide(value, name) == HIDDEN for value in values):
        remember(typed, _SECRET)


@functools.lru_cache(maxsize=4096)  # the words of a sweep repeat
def _hidden(word: str) -> str:
    if not _names_a_secret(word):
        return word
    key, values = word.partition("=")[0], _values(word)
    if values is None:
        return f"{key}={HIDDEN}"
    hidden = [hide(value, _name(key)) for value in values]
    return word if hidden == values else f"{key}={','.join(dict.fromkeys(map(_shown, hidden)))}"


def _names_a_secret(word: str) -> bool:
    """Whether a name before a = or a colon is that of a secret."""
    return any(map(is_secret, _NAMES.findall(without_addresses(word))))


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else spelled(value)


def _name(key: str) -> str:
    return key.lstrip("+~-").partition("@")[0]


def _values(word: str) -> list[Any] | None:
    """Return the value of a word, or the choices of a sweep; None if Hydra cannot read it."""
    try:
        parsed = OverridesParser.create().parse_override(word)
        if not parsed.is_sweep_override():
            return [parsed.value()]
        texts = [*parsed.sweep_string_iterator()] if parsed.is_choice_sweep() else []
    except HydraException:
        return None
    key = word.partition("=")[0]
    return [value for text in texts for value in _values(f"{key}={text}") or [text]]
