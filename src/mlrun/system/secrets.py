"""Hide secrets (passwords, tokens, keys): texts under names that indicate one, and their copies.

`hide` hides the texts under such names. `remember` keeps these texts, so that `hide_in_text` also
finds them elsewhere: in messages, tracebacks, and settings that refer to them.
"""

import functools
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

HIDDEN = "(not recorded)"
# Letters of a secret that is hidden within words, too: `KEYMAP=us` must not hide every "us".
SHORTEST = 8
LEAST = 4  # letters of a setting that is hidden in messages where it is a word of its own
# A word of the name, or its ending, decides: `api_key`, `apiKeys`, `PGPASSWORD`; not `tokenizer`.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_KEYS = ("", "api", "access", "auth", "encryption", "license", "master", "private", "secret")
_NAMES = {"pwd", "pass", "auth", "authorization", "bearer", "signingkey", "sshkey"}
_NAMES |= {f"{kind}key" for kind in _KEYS}
_ENDINGS = ("token", "secret", "password", "passwd", "passphrase", "credential")
_PASSWORD = re.compile(r"(password|passwd|passphrase|pwd)s?", re.IGNORECASE)  # also of digits
# `pad_token` and its like are words of a vocabulary.
_VOCABULARY = {"bos", "class", "cls", "end", "eos", "mask", "pad", "sep", "special", "start", "unk"}
_NO_SECRETS = {"", "none", "null", "true", "false", "auto", "default", "???", HIDDEN}
_REFERENCE = re.compile(r"\$\{[^{},]*\}")  # to a secret, which it does not contain
# An address: its user and password, and the parameters of its query.
_H = re.escape(HIDDEN)
_ADDRESS = re.compile(
    rf"(?P<scheme>\bhttps?:/+|\b[a-z][\w+.-]*://)(?P<user>(?:{_H}|[^\s/?#'\"])*@)?"
    rf"(?P<rest>(?:{_H}|[^\s'\"])*)",
    re.IGNORECASE,
)
_PARAMETER = re.compile(rf"(?<=[?&#;])([^=&#;]+)=({_H}|[^&#;]+)")
_SIGNATURES = {"sig", "signature", "jwt", "sas"}  # parameters that stand for a password

_known: set[str] = set()  # the secrets of the settings


@functools.lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether a setting or variable with this name contains a secret."""
    words = [word.lower() for word in _WORD.findall(name)]
    pairs = zip(["", *words], words, strict=False)
    words = [word for before, word in pairs if before not in _VOCABULARY or "token" not in word]
    words += [word.removesuffix("s") for word in words]
    return any(word in _NAMES or word.endswith(_ENDINGS) for word in words)


def hide(value: Any, name: str = "", *, also: Collection[str] = ()) -> Any:
    """Return nested plain values without secrets.

    Args:
        value: the values.
        name: their key.
        also: full keys of further texts to hide.
    """
    return _hidden(value, name, also, secrets())


def _hidden(value: Any, name: str, also: Collection[str], known: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return {k: _hidden(v, joined(name, k), also, known) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(v, joined(name, k), also, known) for k, v in enumerate(value)]
    if is_hidden(value, name):
        return HIDDEN
    if value is None or isinstance(value, bool | int | float):
        return value
    return HIDDEN if name in also else hide_in_text(str(value), known)


def joined(name: str, key: Any) -> str:
    """Return the full key of an entry."""
    return f"{name}.{key}" if name else str(key)


def is_hidden(value: Any, name: str) -> bool:
    """Whether the value under this name is a secret; a number is one only as a password."""
    if value is None or isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return any(map(_PASSWORD.fullmatch, _WORD.findall(name)))
    text = str(value)
    plain = text.lower() in _NO_SECRETS or _REFERENCE.fullmatch(text)
    return is_secret(name) and not plain


def hide_in_text(text: str, known: Collection[str] | None = None) -> str:
    """Return the text without known secrets (see `redact`), and without those in addresses."""
    return redact(_hide_in_addresses(text), known)


def without_addresses(text: str) -> str:
    """Return the text without addresses, whose parameters are no settings."""
    return _ADDRESS.sub("", text)


def _hide_in_addresses(text: str) -> str:
    return _ADDRESS.sub(_hidden_address, text) if ":/" in text else text


def _hidden_address(found: re.Match[str]) -> str:
    user = f"{HIDDEN}@" if found["user"] else ""
    return found["scheme"] + user + _PARAMETER.sub(_hidden_parameter, found["rest"])


def _hidden_parameter(found: re.Match[str]) -> str:
    return f"{found[1]}={HIDDEN}" if _is_of_a_secret(found[1]) else found[0]


def _is_of_a_secret(parameter: str) -> bool:
    words = {word.lower() for word in _WORD.findall(parameter)}
    return is_secret(parameter) or not words.isdisjoint(_SIGNATURES)


# --- secrets in other texts ---


@contextmanager
def remembering() -> Iterator[None]:
    """Forget at the end of this block what it remembered."""
    before = {*_known}
    try:
        yield
    finally:
        _known.intersection_update(before)


def remember(value: Any, name: str = "") -> None:
    """Keep the secrets among nested plain values."""
    for text in _secret_texts(value, name):
        _known.update(one for one in _spellings(text) if len(one) >= LEAST)


def _secret_texts(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, Mapping | list | tuple):
        entries = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, entry in entries:
            yield from _secret_texts(entry, joined(name, key))
    elif is_hidden(value, name):
        yield str(value)
    elif isinstance(value, str) and ":/" in value:
        yield from (text for text in _parts_of_addresses(value) if len(text) >= SHORTEST)


def _parts_of_addresses(text: str) -> Iterator[str]:
    """Yield the passwords of addresses, users without one, and secret parameters."""
    for found in _ADDRESS.finditer(text):
        yield (found["user"] or "").removesuffix("@").split(":", 1)[-1]
        yield from (v for key, v in _PARAMETER.findall(found["rest"]) if _is_of_a_secret(key))


def _spellings(text: str) -> set[str]:
    """Return the text as messages may spell it: as it is, in quotes, in an address, by lines."""
    quoted = {repr(text)[1:-1], *(text.replace(mark, f"\\{mark}") for mark in "'\"")}
    quoted.add(re.sub(r"([\\()\[\]{}:=, \t])", r"\\\1", text))  # as Hydra does
    return {text, text.strip(), *quoted, quote(text, safe=""), unquote(text), *text.splitlines()}


def secrets(shortest: int = LEAST) -> list[str]:
    """Return the known secrets: of the settings, and of environment variables with secret names."""
    found = {text for text in _known if len(text) >= shortest}
    for name, text in os.environ.items():
        if is_secret(name) and not _is_path(text):
            found |= {one for one in _spellings(text) if len(one) >= SHORTEST}
    return sorted(found, key=len, reverse=True)


@functools.cache
def _is_path(text: str) -> bool:
    """Whether this is a folder or file, such as PWD, GOOGLE_APPLICATION_CREDENTIALS."""
    try:
        return Path(text).is_absolute() and Path(text).exists()
    except (OSError, ValueError):  # too long, or a zero byte
        return False


def redact(text: str, hidden: Collection[str] | None = None) -> str:
    """Return the text without these secrets; default: without all known ones."""
    pattern = _pattern(tuple(secrets() if hidden is None else hidden))
    return pattern.sub(HIDDEN, text) if pattern else text


@functools.lru_cache(maxsize=8)
def _pattern(hidden: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return an expression for the secrets; short ones count only as words of their own."""
    texts = [
        re.escape(text) if len(text) >= SHORTEST else rf"(?<!\w){re.escape(text)}(?!\w)"
        for text in hidden
    ]
    return re.compile("|".join(texts)) if texts else None
