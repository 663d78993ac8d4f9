"""What must not be written down: passwords, tokens and keys, by their names."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = "(not recorded)"
# A word of a name says so, or its end: `api_key`, `apiKeys`, `PGPASSWORD`; not `tokenizer`.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NAMES = {"key", "pwd", "apikey", "accesskey", "authkey", "privatekey", "secretkey", "sshkey"}
_ENDINGS = ("token", "secret", "password", "passwd", "passphrase", "credential", "credentials")
_NAMED = re.compile(r"([\w-]+):")
# What follows `my_token: ` within a text; numbers are no secrets.
_VALUE = r"(?!-?[\d.]+\b|null|true|false)[^\s,}]+"
SHORTEST = 8  # of a secret in the environment: `KEYMAP=us` must not blacken every "us"


def is_secret(name: str) -> bool:
    """Whether a setting or variable of that name holds one."""
    words = [word.lower().removesuffix("s") for word in _WORD.findall(name)]
    return any(word in _NAMES or word.endswith(_ENDINGS) for word in words)


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
    names = {name for name in _NAMED.findall(text) if is_secret(name)}
    for name in names:
        text = re.sub(rf"(?<![\w-])({re.escape(name)}: *){_VALUE}", rf"\g<1>{HIDDEN}", text)
    return redact(text, hidden)


def secrets() -> list[str]:
    """The values of those environment variables that hold secrets."""
    return [v for name, v in os.environ.items() if len(v) >= SHORTEST and is_secret(name)]


def redact(text: str, hidden: Sequence[str] | None = None) -> str:
    """Text without the secrets; those of the environment if they are not given."""
    for value in secrets() if hidden is None else hidden:
        text = text.replace(value, HIDDEN)
    return text
