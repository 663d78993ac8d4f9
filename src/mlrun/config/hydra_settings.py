"""Check Hydra's own settings by the values that Hydra will get.

Hydra, and Python's logging for it, import and call what the `hydra` node names, and every file in
a `conf/` folder can set all of it. So each reference is resolved first, its value is compared with
an allow-list of shapes, and takes the place of the reference: what is checked is what is built.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, ListConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from mlrun.config.allowlist import advice, is_own, special_keys
from mlrun.config.hydra_patches import without_resolvers
from mlrun.config.hydra_shapes import (
    ANYTHING,
    DIRNAME_KEYS,
    FREE,
    NEW_FOLDER,
    NOTHING,
    OWN_PLUGIN,
    SETTINGS,
    SUBMITIT_FOLDER,
    SUBMITIT_KEYS,
    TEXTS,
    Each,
    Plugin,
    Shape,
    Value,
)
from mlrun.config.recorded import keys_looked_up
from mlrun.config.references import limited_references
from mlrun.config.values import NOT_SET
from mlrun.errors import MlrunError
from mlrun.system.secrets import redact

Keys = tuple[str, ...]  # the keys that lead to a setting
# What the name of a folder may refer to: settings and the time, but not the environment.
_IN_FOLDERS = re.compile(r"\$\{(now:[^${}]*|hydra:[\w.]+|[\w.]+)\}")
# Settings in there, but for one that begins the path: it may be a folder of the user.
_SETTINGS_IN_NAMES = re.compile(r"(?<=.)\$\{([\w.]+)\}|^\$\{([\w.]+)\}(?!/|$)")
_LONGEST = 60  # of a value in a message


def check_hydra(config: DictConfig, words: Sequence[str]) -> None:
    """Check a composed configuration; replace the references in its `hydra` node by their values.

    Args:
        config: the whole configuration.
        words: the overrides on the command line.

    Raises:
        MlrunError: naming the refused setting.
    """
    plain: Any = OmegaConf.to_container(config.hydra)
    typed = frozenset(_typed(words))
    _check_words(plain["overrides"], words)
    _check_folders(config, plain, typed)
    for name in [name for name in plain if name not in TEXTS]:
        shape, may_type = SETTINGS.get(name, NOTHING), typed if name in FREE else frozenset[Keys]()
        with without_resolvers("oc.create", "oc.decode", "oc.env"), limited_references():
            value = _value(config.hydra, name, plain[name], shape, ("hydra", name), may_type)
        _replace(config.hydra, name, plain[name], value)


def _typed(words: Sequence[str]) -> Iterator[Keys]:
    """Yield the settings that are on the command line."""
    for override in OverridesParser.create().parse_overrides(list(words)):
        yield from _leaves(override.value(), (*override.key_or_group.split("."),))


def _leaves(value: Any, keys: Keys) -> Iterator[Keys]:
    if isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _leaves(entry, (*keys, str(name)))
    else:
        yield keys


def _check_words(recorded: Any, words: Sequence[str]) -> None:
    """Check that no file adds words to the command line, which count as typed in later jobs."""
    if sorted([*recorded["hydra"], *recorded["task"]]) != sorted(words):
        raise MlrunError("hydra.overrides: refused; it is the command line")


def _check_folders(config: DictConfig, plain: Mapping[str, Any], typed: frozenset[Keys]) -> None:
    """Check that no file names a folder by a text from the environment."""
    for keys in (("run", "dir"), ("sweep", "dir"), ("sweep", "subdir")):
        node = plain[keys[0]]
        text = str(node.get(keys[1]) if isinstance(node, Mapping) else node)
        if ("hydra", *keys) in typed or text == NEW_FOLDER:
            continue
        if "${" in _IN_FOLDERS.sub("", text):
            advised = "; a folder may be named after other settings, ${now:…} and ${hydra:…}"
            raise _refused(("hydra", *keys), text, advised)
        names = [name for found in _SETTINGS_IN_NAMES.findall(text) for name in found if name]
        if names and (found := {*names} & keys_looked_up(_without_hydra(config))):
            advised = f"; {min(found)} comes from the environment"
            raise _refused(("hydra", *keys), text, advised)


def _without_hydra(config: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(config)
    return {name: value for name, value in plain.items() if name != "hydra"}


def _value(
    parent: Any, name: Any, raw: Any, shape: Shape, keys: Keys, typed: frozenset[Keys]
) -> Any:
    """Return the plain value of a setting without references.

    Args:
        parent: the node of the setting.
        name: its key in there.
        raw: its plain value with references.
        shape: what it must be.
        keys: its whole name.
        typed: settings that may have any plain value.

    Raises:
        MlrunError: it has another shape.
    """
    stays = keys == DIRNAME_KEYS or (keys == SUBMITIT_KEYS and raw == SUBMITIT_FOLDER)
    if raw is None or raw == NOT_SET or stays:
        return raw
    if shape is NOTHING and isinstance(raw, str) and raw and keys not in typed:
        raise _refused(keys, raw, _must(shape, keys))
    try:
        node = parent[name]
    except OmegaConfBaseException as error:
        raise _refused(keys, raw, f"; {str(error.msg).splitlines()[0]}") from error
    return _checked(node, ANYTHING if keys in typed else shape, keys, typed)


def _checked(node: Any, shape: Shape, keys: Keys, typed: frozenset[Keys]) -> Any:
    """Return the plain value of a node, if it has the shape."""
    if isinstance(shape, Plugin):
        shape = _settings_of(node, shape, keys)
    if isinstance(node, DictConfig | ListConfig):
        raw: Any = OmegaConf.to_container(node)
        found = {
            name: _value(node, name, entry, _inside(shape, name, keys), (*keys, str(name)), typed)
            for name, entry in (raw.items() if isinstance(raw, dict) else enumerate(raw))
        }
        return found if isinstance(raw, dict) else [*found.values()]
    if not isinstance(shape, Value) or not shape.fits(node) or "${" in str(node):
        raise _refused(keys, node, _must(shape, keys))
    return node


def _inside(shape: Shape, name: Any, keys: Keys) -> Any:
    """Return the shape of an entry."""
    if isinstance(shape, Each) and re.fullmatch(shape.names, str(name)):
        return shape.shape
    if isinstance(shape, list) and isinstance(name, int):
        return shape[0]
    if isinstance(shape, Mapping) and name in shape:
        return shape[name]
    if not special_keys({name: None}):
        if shape is ANYTHING:
            return ANYTHING
        if isinstance(shape, Mapping) or (isinstance(shape, Value) and keys[1] in FREE):
            return NOTHING  # unless it was typed
    raise MlrunError(f"{'.'.join(keys)}.{name}: refused{_must(NOTHING, keys)}")


def _settings_of(node: Any, plugin: Plugin, keys: Keys) -> Shape:
    """Return the shape of an object that Hydra builds."""
    target = node.get("_target_") if isinstance(node, DictConfig) else None
    if isinstance(target, str) and is_own(target):
        return OWN_PLUGIN
    if not isinstance(target, str) or target not in plugin.classes:
        raise _refused((*keys, "_target_"), target, advice(target))
    return {"_target_": Value(lambda value: value == target, target), **plugin.classes[target]}


def _replace(parent: Any, key: Any, raw: Any, value: Any) -> None:
    """Set the values of references."""
    if isinstance(raw, dict | list):
        for name in raw if isinstance(raw, dict) else range(len(raw)):
            _replace(parent[key], name, raw[name], value[name])
    elif raw != value:
        with flag_override(parent, ["readonly", "struct"], False):
            parent[key] = value


def _must(shape: Shape, keys: Keys) -> str:
    if keys[:3] == ("hydra", "job", "env_set"):  # PATH, LD_PRELOAD … run other programs
        return "; set variables in the shell: NAME=VALUE mlrun …"
    if shape is NOTHING:
        return "; only the command line may set it" if keys[1] in FREE else ""
    if isinstance(shape, Value):
        return f"; must be {shape.words}"
    return f"; must be a {'list' if isinstance(shape, list) else 'mapping'}"


def _refused(keys: Keys, value: Any, advised: str) -> MlrunError:
    text = redact(str(value))
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return MlrunError(f"{'.'.join(keys)}={text}: refused{advised}")
