"""Record a configuration in the run folder, and read it back.

The recorded values are plain, with resolved references, so that opening a run folder, which may
come from a stranger, evaluates and looks up nothing. Secrets and texts from the environment are not
recorded.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlrun.config.allowlist import check_targets
from mlrun.config.references import limited_references
from mlrun.config.values import Composed, composed
from mlrun.config.words import hide_in_words
from mlrun.errors import MlrunError
from mlrun.system.secrets import HIDDEN, hide, hide_in_text, is_hidden, is_secret, joined

_BRACES_AND_COLONS = re.compile(r"\$\{|[{}:]")
_ADDRESS = re.compile(r"https?:/", re.IGNORECASE)
_STAND_IN = "\0"
_STORE_NOTHING = ("mlrun", "basic", "joblib")  # launchers
# Paths on the machine that trained; run.json records the data files separately.
_PATHS = ("paths.", "data.dir", "data.train", "data.test")


def for_the_record(config: Composed) -> dict[str, Any]:
    """Return the values of the configuration without secrets; ??? stays ???."""
    looked_up = keys_looked_up(config.raw)
    return hide(config.values, also=looked_up)  # type: ignore[no-any-return]


def with_references(config: Composed) -> dict[str, Any]:
    """Return the values of `for_the_record`, but keep references to other settings."""
    marked = OmegaConf.create(for_the_record(config))
    for key, text in _leaves(config.raw):
        if isinstance(text, str) and "${" in text and not looks_up(text):
            OmegaConf.update(marked, key, hide_in_text(text))
    return OmegaConf.to_container(marked)  # type: ignore[return-value]


def check_lookups(config: Composed) -> None:
    """Check that no text from the environment would be recorded, or sent to an address.

    Numbers, paths (`paths`, `data.dir` …) and secrets may come from the environment.

    Raises:
        MlrunError: naming the setting.
    """
    values = dict(_leaves(config.values))
    for key in sorted(keys_looked_up(config.raw)):
        if key.startswith("data.") and _ADDRESS.match(str(values.get(key))):
            raise MlrunError(
                f"{key}: refused; an address must not contain texts from the environment"
            )
    for key, text in _leaves(config.raw):
        known = is_secret(key) or (key.startswith(_PATHS) and not is_secret(str(text)))
        if known or not isinstance(text, str) or not looks_up(text):
            continue
        if isinstance(values.get(key), str):
            raise MlrunError(
                f"{key}={text}: texts from the environment are not recorded; write the text itself"
            )


def check_launcher(config: Any) -> None:
    """Check that the launcher of a sweep stores no secret, as submitit does with all settings.

    Args:
        config: the composed, unresolved configuration as plain values, including `hydra`.

    Raises:
        MlrunError: naming the setting.
    """
    launcher = config["hydra"]["runtime"]["choices"].get("hydra/launcher")
    if launcher in (None, *_STORE_NOTHING):
        return
    words = config["hydra"]["overrides"]["task"]
    hidden = zip(words, hide_in_words(words), strict=True)
    found = [word.partition("=")[0].lstrip("+") for word, shown in hidden if word != shown]
    leaves = ((key, value) for key, value in _leaves(config) if isinstance(value, str))
    found += [key for key, value in leaves if hide(value, key) != value]
    if found:
        raise MlrunError(
            f"{found[0]} is a secret, and hydra/launcher={launcher} stores all settings in files; "
            f"take it from the environment: {found[0]}='${{oc.env:NAME}}'"
        )


def path_references(config: Composed) -> dict[str, str]:
    """Return the path settings that contain references, unresolved."""
    found = _leaves(config.raw)
    return {k: hide_in_text(v) for k, v in found if k.startswith(_PATHS) and "${" in str(v)}


def with_paths(
    values: dict[str, Any], references: Mapping[str, str], folder: str
) -> dict[str, Any]:
    """Return recorded values with current paths.

    Args:
        values: the result of `for_the_record`.
        references: the result of `path_references` for the same configuration.
        folder: the data folder, used if `paths.data` was not recorded.

    Raises:
        MlrunError: a path came from the environment, or an address contained a secret.
    """
    paths = values.get("paths")
    known = paths.get("data") if isinstance(paths, Mapping) else None
    folder = folder if known == HIDDEN else str(known)
    for key, text in references.items():
        path = folder if key == "paths.data" else text.replace("${paths.data}", folder)
        if "${" in path and key.startswith("data."):
            raise MlrunError(f"{key}={text}: came from the environment and is not recorded")
        if "${" not in path and key.startswith(_PATHS):
            values = _changed(values, key.split("."), path)
    if keys := _with_hidden_addresses(values):
        raise MlrunError(f"{keys[0]} has an address with a secret, which is not recorded")
    return values


def _changed(node: Any, keys: Sequence[str], text: str) -> Any:
    """Return a copy with another text at a path of keys; unchanged if there is no text."""
    if not keys:
        return text if isinstance(node, str) else node
    if isinstance(node, dict) and keys[0] in node:
        return {**node, keys[0]: _changed(node[keys[0]], keys[1:], text)}
    if isinstance(node, list) and keys[0].isdecimal() and int(keys[0]) < len(node):
        at = int(keys[0])
        return [*node[:at], _changed(node[at], keys[1:], text), *node[at + 1 :]]
    return node


def left_out(values: Mapping[str, Any]) -> list[str]:
    """Return the keys whose missing values prevent rebuilding a recorded configuration."""
    return [k for k, v in _leaves(values) if HIDDEN in str(v) and not k.startswith(_PATHS)]


def not_recorded(config: Composed) -> list[str]:
    """Return the keys whose missing values prevent running a job from the journal of a sweep."""
    values = for_the_record(config)
    return [*left_out(values), *_with_hidden_addresses(values)]


def _with_hidden_addresses(values: Mapping[str, Any]) -> list[str]:
    data = _leaves(values.get("data"), "data")
    return [key for key, value in data if HIDDEN in str(value) and value != HIDDEN]


def from_the_record(values: Any, source: Path, *, references: bool = False) -> Composed:
    """Return the configuration from a run folder, after checking that its values are plain.

    It drops Hydra's own settings: they belong to the process that trained.

    Args:
        values: the recorded values.
        source: the file, for messages.
        references: whether values may refer to other values of the same configuration.

    Raises:
        MlrunError: a value is not plain, is a reference or was not recorded, or a class is not
            allowed.
    """
    if not isinstance(values, Mapping):
        raise MlrunError(f"{source} has no configuration")
    try:
        for key, value in _leaves(values):
            _refuse(key, value, source, references=references)
        if missing := left_out(values):
            raise MlrunError(
                f"{source}: {missing[0]} was a secret or came from the environment and is not "
                "recorded, so the run cannot be opened"
            )
        check_targets(values)
        plain = {key: value for key, value in values.items() if key != "hydra"}
        return composed(OmegaConf.create(plain)) if references else Composed(plain, plain)
    except (RecursionError, ValueError, OmegaConfBaseException) as error:
        raise MlrunError(f"{source} has no configuration: {error}") from None


def looks_up(text: str) -> bool:
    """Whether the text has ${oc.env:…} or the like; ${trainer.epochs} only refers to a setting."""
    braces: list[str] = []  # open ones
    references = 0  # how many of them begin a reference
    for found in _BRACES_AND_COLONS.findall(text):
        if found == ":" and references:
            return True
        if found in ("${", "{"):
            braces.append(found)
            references += found == "${"
        elif found == "}" and braces:
            references -= braces.pop() == "${"
    return False


def _refuse(key: str, value: Any, source: Path, *, references: bool) -> None:
    if not isinstance(value, str | int | float | bool | None):
        raise MlrunError(f"{source}: {key} is a {type(value).__name__}, not a plain value")
    if isinstance(value, str) and (looks_up(value) if references else "${" in value):
        raise MlrunError(
            f"{source}: {key}={value}: refused; recorded values must not contain references"
        )


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping | list):
        entries = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, entry in entries:
            yield from _leaves(entry, joined(name, key))
    else:
        yield name, value


_found: dict[str, frozenset[str]] = {}  # cache: the result depends only on these keys and texts


def keys_looked_up(raw: Any) -> frozenset[str]:
    """Return the keys whose texts come from the environment or a secret, also by references."""
    leaves = [*_leaves(raw)]
    references = {key: text for key, text in leaves if "${" in str(text)}
    secret = [key for key, value in leaves if is_hidden(value, key)]
    return _looked_up(json.dumps([references, secret]), raw)


def _looked_up(depends_on: str, raw: Any) -> frozenset[str]:
    """Return the keys whose texts come from a lookup or a secret, directly or through references.

    Args:
        depends_on: the keys with references, their texts, and the keys of secrets.
        raw: the configuration, unresolved.
    """
    if depends_on not in _found:
        marked = OmegaConf.create(_with_stand_ins(raw, ""))
        with limited_references():
            leaves = _leaves(OmegaConf.to_container(marked, resolve=True))
        _found[depends_on] = frozenset(key for key, text in leaves if _STAND_IN in str(text))
    return _found[depends_on]


def _with_stand_ins(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _with_stand_ins(entry, joined(name, key)) for key, entry in value.items()}
    if isinstance(value, list):
        return [_with_stand_ins(entry, joined(name, key)) for key, entry in enumerate(value)]
    replaced = isinstance(value, str) and looks_up(value)
    return _STAND_IN if replaced or is_hidden(value, name) else value
