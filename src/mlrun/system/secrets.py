"""Hide secrets (passwords, tokens, keys), recognised by their names."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

HIDDEN = "(not recorded)"
# A word of the name, or its ending, decides: `api_key`, `apiKeys`, `PGPASSWORD`; not `tokenizer`.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_KEYS = ("", "api", "access", "auth", "encryption", "license", "master", "private", "secret")
_NAMES = {"pwd", "pass", "signingkey", "sshkey", *(f"{kind}key" for kind in _KEYS)}
_ENDINGS = ("token", "secret", "password", "passwd", "passphrase", "credential")
_NAMED = re.compile(r"([\w-]+):")
_NO_SECRET = r"(?:-?[\d.]+(?:e[+-]?\d+)?|null|true|false)"  # numbers and flags
# The value after `my_token: ` within a text: in quotes, or up to the end of the line or entry.
_VALUE = (
    r"(?:'(?:[^'\n]|'')*'|\"(?:[^\"\\\n]|\\.)*\""
    rf"|(?!{_NO_SECRET}\s*(?:[,}}\n]|$))[^\s,}}][^\n,}}]*)"
)
SHORTEST = 8  # minimum length of an environment secret: `KEYMAP=us` must not hide every "us"


def is_secret(name: str) -> bool:
    """Whether a setting or variable with this name contains a secret."""
    words = [word.lower() for word in _WORD.findall(name)]
    words += [word.removesuffix("s") for word in words]
    return any(word in _NAMES or word.endswith(_ENDINGS) for word in words)


def hide(value: Any, name: str = "") -> Any:
    """Return nested plain values; texts under a secret name are hidden."""
    if isinstance(value, Mapping):
        return {key: hide(entry, f"{name}.{key}") for key, entry in value.items()}
    if isinstance(value, list):
        return [hide(entry, name) for entry in value]
    return HIDDEN if isinstance(value, str) and is_secret(name) else value


def hide_in_words(words: Sequence[str]) -> list[str]:
    """Return command-line words with hidden secrets in KEY=VALUE and KEY={name: VALUE}."""
    hidden = secrets()
    return [_hide_in_word(word, hidden) for word in words]


def _hide_in_word(word: str, hidden: Sequence[str]) -> str:
    key, equals, value = word.partition("=")
    if equals and is_secret(key) and not re.fullmatch(_NO_SECRET, value, re.IGNORECASE):
        return f"{key}={HIDDEN}"
    return key + equals + hide_in_text(value, hidden)


def hide_in_text(text: str, hidden: Sequence[str] | None = None) -> str:
    """Return YAML text with hidden texts under secret names; also calls `redact`."""
    names = {name for name in _NAMED.findall(text) if is_secret(name)}
    for name in names:
        named = rf"(?<![\w-])({re.escape(name)}: *)"
        text = re.sub(named + _VALUE, rf"\g<1>{HIDDEN}", text)
    return redact(text, hidden)


def secrets() -> list[str]:
    """Return the values of environment variables with secret names."""
    named = {name: text for name, text in os.environ.items() if is_secret(name)}
    named.pop("PWD", None)  # the shell's working folder
    return [text for text in named.values() if len(text) >= SHORTEST]


def redact(text: str, hidden: Sequence[str] | None = None) -> str:
    """Return the text without the secrets; default: the secrets in the environment."""
    for value in secrets() if hidden is None else hidden:
        text = text.replace(value, HIDDEN)
    return text
