"""A run's configuration on its way into the run folder, and out of it.

What is recorded are plain values, every reference resolved, so that opening a run evaluates and
looks up nothing, whoever wrote it. Secrets and texts from the environment are left out.
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

_LOOKUP = re.compile(r"\$\{[^{}]*:")  # ${oc.env:…}: all but references like ${trainer.epochs}
_STAND_IN = "\0"
# Where the machine that trained had its files: the data is found by its record instead.
_PLACES = ("paths.", "data.dir", "data.train", "data.test")


def for_the_record(config: Composed) -> dict[str, Any]:
    """The configuration's values without secrets; one that is ??? stays so."""
    references = {key: text for key, text in _leaves(config.raw) if "${" in str(text)}
    looked_up = _looked_up(json.dumps(references), config.raw)
    return _recordable(config.values, looked_up, "", secrets())  # type: ignore[no-any-return]


def with_references(config: Composed) -> dict[str, Any]:
    """`for_the_record`, but what refers to another setting goes on doing so."""
    marked = OmegaConf.create(for_the_record(config))
    for key, text in _leaves(config.raw):
        if isinstance(text, str) and "${" in text and not _LOOKUP.search(text):
            OmegaConf.update(marked, key, text)
    return OmegaConf.to_container(marked)  # type: ignore[return-value]


def check_lookups(config: Composed) -> None:
    """Refuse texts from the environment where they would be written down.

    Numbers may come from there, places (`paths`, `data.dir` …) and what has a secret's name.

    Raises:
        MlrunError: with the setting.
    """
    values = dict(_leaves(config.values))
    for key, text in _leaves(config.raw):
        known = is_secret(key) or (key.startswith(_PLACES) and not is_secret(str(text)))
        if known or not isinstance(text, str) or not _LOOKUP.search(text):
            continue
        if isinstance(values.get(key), str):
            raise MlrunError(f"{key}={text}: a text from outside is not recorded: write it out")


def places(config: Composed) -> dict[str, str]:
    """Where the data is, as it was asked for: the keys that refer to other places."""
    found = _leaves(config.raw)
    return {k: v for k, v in found if k.startswith(_PLACES) and "${" in str(v)}


def put_in_place(values: dict[str, Any], places: Mapping[str, str], folder: str) -> dict[str, Any]:
    """Recorded values with their places as they are now.

    Args:
        values: as `for_the_record` gave them.
        places: of the same configuration.
        folder: where data is; what `paths.data` said if that was written out.

    Raises:
        MlrunError: a place that came from elsewhere.
    """
    folder = folder if values["paths"]["data"] == HIDDEN else values["paths"]["data"]
    config = OmegaConf.create(values)
    for key, text in places.items():
        place = folder if key == "paths.data" else text.replace("${paths.data}", folder)
        if "${" in place and key.startswith("data."):
            raise MlrunError(f"{key}={text}: came from outside and is not recorded")
        OmegaConf.update(config, key, place)
    return OmegaConf.to_container(config)  # type: ignore[return-value]


def left_out(values: Mapping[str, Any]) -> list[str]:
    """The keys without whose values a recorded configuration cannot be built again."""
    return [k for k, v in _leaves(values) if v == HIDDEN and not k.startswith(_PLACES)]


def from_the_record(values: Any, source: Path, *, references: bool = False) -> Composed:
    """The configuration that a run folder holds, once it is known to be plain values.

    Hydra's own settings are dropped: they are for the process that trained.

    Args:
        values: as they were recorded.
        source: where, for messages.
        references: whether a value may refer to another one of the same configuration.

    Raises:
        MlrunError: something else, a reference, a setting that was left out, a class that may not
            be built.
    """
    if not isinstance(values, Mapping):
        raise MlrunError(f"{source} holds no configuration")
    try:
        for key, value in _leaves(values):
            _refuse(key, value, source, references=references)
        if missing := left_out(values):
            raise MlrunError(
                f"{source}: {missing[0]} was a secret or came from the environment and is not "
                "recorded: the run cannot be opened"
            )
        check_targets(values)
        return composed(OmegaConf.create({k: v for k, v in values.items() if k != "hydra"}))
    except (RecursionError, ValueError) as error:
        raise MlrunError(f"{source} holds no configuration: {error}") from None


def _refuse(key: str, value: Any, source: Path, *, references: bool) -> None:
    if not isinstance(value, str | int | float | bool | None):
        raise MlrunError(f"{source}: {key} is a {type(value).__name__}, no plain value")
    looks_up = isinstance(value, str) and (_LOOKUP.search(value) if references else "${" in value)
    if looks_up:
        raise MlrunError(f"{source}: {key}={value}: refused; a recorded value looks nothing up")


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping | list):
        entries = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, entry in entries:
            yield from _leaves(entry, _joined(name, key))
    else:
        yield name, value


_found: dict[str, frozenset[str]] = {}  # which keys come from a lookup follows from these alone


def _looked_up(references: str, raw: Any) -> frozenset[str]:
    """The keys whose texts come from a lookup, themselves or through what they refer to.

    Args:
        references: the keys that refer to something, with their texts.
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
