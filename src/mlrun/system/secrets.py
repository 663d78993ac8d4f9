"""What must not be written down: passwords, tokens and keys, by their names."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = "(not recorded)"
_NAMES = re.compile("token|key|secret|password", re.IGNORECASE)
# `my_token: abc` within a text; numbers are no secrets.
_NAMED_INSIDE = re.compile(
    rf"(\w*(?:{_NAMES.pattern})\w*: *)(?!-?[\d.]+\b|null|true|false)[^\s,}}]+", re.IGNORECASE
)
SHORTEST = 8  # of a secret in the environment: `KEYMAP=us` must not blacken every "us"


def is_secret(name: str) -> bool:
    """Whether a setting or variable of that name holds one."""
    return _NAMES.search(name) is not None


def hide(value: Any, name: str = "") -> Any:
    """Nested plain values with every text hidden that a secret name leads to."""
    if isinstance(value, Mapping):
        return {key: hide(entry, f"{name}.{key}") for key, entry in value.items()}
    if isinstance(value, list):
        return [hide(entry, name) for entry in value]
    return HIDDEN if isinstance(value, str) and is_secret(name) else value


def hide_in_words(words: Sequence[str]) -> list[str]:
    """Command-line words with the secrets in KEY=VALUE and KEY={name: VALUE} hidden."""
    hidden = secrets()
    return [_hide_in_word(word, hidden) for word in words]


def _hide_in_word(word: str, hidden: Sequence[str]) -> str:
    key, equals, value = word.partition("=")
    if equals and is_secret(key):
        return f"{key}={HIDDEN}"
    return key + equals + hide_in_text(value, hidden)


def hide_in_text(text: str, hidden: Sequence[str] | None = None) -> str:
    """YAML, or a part of it, with the texts hidden that a secret name leads to; see `redact`."""
    return redact(_NAMED_INSIDE.sub(rf"\g<1>{HIDDEN}", text), hidden)


def secrets() -> list[str]:
    """The values of those environment variables that hold secrets."""
    return [v for name, v in os.environ.items() if len(v) >= SHORTEST and is_secret(name)]


def redact(text: str, hidden: Sequence[str] | None = None) -> str:
    """Text without the secrets; those of the environment if they are not given."""
    for value in secrets() if hidden is None else hidden:
        text = text.replace(value, HIDDEN)
    return text
