"""Record a configuration in the run folder, and read it back.

The recorded values are plain, with resolved references, so that opening a run folder, which may
come from a stranger, evaluates and looks up nothing. Secrets and texts from the environment are not
recorded.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mlrun.config.allowlist import check_targets
from mlrun.config.values import Composed, composed
from mlrun.errors import MlrunError
from mlrun.system.secrets import HIDDEN, is_secret, redact, secrets

_LOOKUP = re.compile(
    r"\$\{[^{}]*:"
)  # ${oc.env:…} and the like, but not references such as ${trainer.epochs}
_STAND_IN = "\0"
# Paths on the machine that trained; run.json records the data files separately.
_PATHS = ("paths.", "data.dir", "data.train", "data.test")


def for_the_record(config: Composed) -> dict[str, Any]:
    """Return the values of the configuration without secrets; ??? stays ???."""
    references = {key: text for key, text in _leaves(config.raw) if "${" in str(text)}
    looked_up = _looked_up(json.dumps(references), config.raw)
    return _recordable(config.values, looked_up, "", secrets())  # type: ignore[no-any-return]


def with_references(config: Composed) -> dict[str, Any]:
    """Return the values of `for_the_record`, but keep references to other settings."""
    marked = OmegaConf.create(for_the_record(config))
    for key, text in _leaves(config.raw):
        if isinstance(text, str) and "${" in text and not _LOOKUP.search(text):
            OmegaConf.update(marked, key, text)
    return OmegaConf.to_container(marked)  # type: ignore[return-value]


def check_lookups(config: Composed) -> None:
    """Check that no text from the environment would be recorded.

    Numbers, paths (`paths`, `data.dir` …) and secrets may come from the environment.

    Raises:
        MlrunError: naming the setting.
    """
    values = dict(_leaves(config.values))
    for key, text in _leaves(config.raw):
        known = is_secret(key) or (key.startswith(_PATHS) and not is_secret(str(text)))
        if known or not isinstance(text, str) or not _LOOKUP.search(text):
            continue
        if isinstance(values.get(key), str):
            raise MlrunError(
                f"{key}={text}: texts from the environment are not recorded; write the text itself"
            )


def path_references(config: Composed) -> dict[str, str]:
    """Return the path settings that contain references, unresolved."""
    found = _leaves(config.raw)
    return {k: v for k, v in found if k.startswith(_PATHS) and "${" in str(v)}


def with_paths(
    values: dict[str, Any], references: Mapping[str, str], folder: str
) -> dict[str, Any]:
    """Return recorded values with current paths.

    Args:
        values: the result of `for_the_record`.
        references: the result of `path_references` for the same configuration.
        folder: the data folder, used if `paths.data` was not recorded.

    Raises:
        MlrunError: a path came from the environment.
    """
    folder = folder if values["paths"]["data"] == HIDDEN else values["paths"]["data"]
    config = OmegaConf.create(values)
    for key, text in references.items():
        path = folder if key == "paths.data" else text.replace("${paths.data}", folder)
        if "${" in path and key.startswith("data."):
            raise MlrunError(f"{key}={text}: came from the environment and is not recorded")
        OmegaConf.update(config, key, path)
    return OmegaConf.to_container(config)  # type: ignore[return-value]


def left_out(values: Mapping[str, Any]) -> list[str]:
    """Return the keys whose missing values prevent rebuilding a recorded configuration."""
    return [k for k, v in _leaves(values) if v == HIDDEN and not k.startswith(_PATHS)]


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
        return composed(OmegaConf.create({k: v for k, v in values.items() if k != "hydra"}))
    except (RecursionError, ValueError) as error:
        raise MlrunError(f"{source} has no configuration: {error}") from None


def _refuse(key: str, value: Any, source: Path, *, references: bool) -> None:
    if not isinstance(value, str | int | float | bool | None):
        raise MlrunError(f"{source}: {key} is a {type(value).__name__}, not a plain value")
    looks_up = isinstance(value, str) and (_LOOKUP.search(value) if references else "${" in value)
    if looks_up:
        raise MlrunError(
            f"{source}: {key}={value}: refused; recorded values must not contain references"
        )


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping | list):
        entries = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, entry in entries:
            yield from _leaves(entry, _joined(name, key))
    else:
        yield name, value


_found: dict[str, frozenset[str]] = {}  # cache: the result depends only on the references


def _looked_up(references: str, raw: Any) -> frozenset[str]:
    """Return the keys whose texts come from a lookup, directly or through references.

    Args:
        references: the keys with references, and their texts.
        raw: the configuration, unresolved.
    """
    if references not in _found:
        marked = OmegaConf.create(_each_text(raw, _stand_in))
        leaves = _leaves(OmegaConf.to_container(marked, resolve=True))
        _found[references] = frozenset(key for key, text in leaves if _STAND_IN in str(text))
    return _found[references]


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _each_text(entry, change) for key, entry in value.items()}
    if isinstance(value, list):
        return [_each_text(entry, change) for entry in value]
    return change(value) if isinstance(value, str) else value


def _stand_in(text: str) -> str:
    return _STAND_IN if _LOOKUP.search(text) else text


def _recordable(value: Any, looked_up: frozenset[str], name: str, hidden: Sequence[str]) -> Any:
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        found = {k: _recordable(v, looked_up, _joined(name, k), hidden) for k, v in entries}
        return found if isinstance(value, dict) else [*found.values()]
    if isinstance(value, bool | int | float | None):
        return value
    return HIDDEN if name in looked_up or is_secret(name) else redact(str(value), hidden)


def _joined(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)
