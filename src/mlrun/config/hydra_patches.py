"""The only file that uses private names of Hydra, OmegaConf and PyYAML.

Written for hydra-core 1.3.8 and omegaconf 2.3.1, the newest versions that pyproject.toml allows.
tests/test_hydra_patches.py has a canary for each of these names.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra._internal.hydra as hydra_internals
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.utils import get_args_parser
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.core.utils import JobReturn
from hydra.errors import OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig, OmegaConf, flag_override
from omegaconf._utils import OmegaConfDumper
from omegaconf.basecontainer import BaseContainer

from mlrun.config.references import limited_reference, limited_references
from mlrun.config.words import hide_in_words
from mlrun.config.yaml_loader import LimitedLoader
from mlrun.errors import MlrunError
from mlrun.system.secrets import hide, remember

ConfigLoader = ConfigLoaderImpl
_APPLY = ConfigLoaderImpl._apply_overrides_to_config
_MERGE = BaseContainer.merge_with
_LOAD = ConfigRepository.load_config


@contextmanager
def patched(
    check: Callable[[DictConfig, Sequence[str]], None], *, may_set_mode: bool
) -> Iterator[None]:
    """Patch Hydra in seven places for this block, and restore everything afterwards.

    - Hydra builds loggers, callbacks and plugins right after composing; `check` inspects the
      configuration before that. Files that Hydra looks up last, its own and those of launchers and
      sweepers, it finds before those of the user, which can thus replace none of them. And it
      takes no file outside a folder of options, by `..` or a link.
    - Hydra and its plugins print and store configurations as YAML: without secrets.
    - Hydra composes everything again to read hydra.mode, which only users set.
    - OmegaConf reads YAML with yaml.SafeLoader; `LimitedLoader` is faster and refuses bombs.
    - OmegaConf refuses references that describe too much, like a bomb in YAML.
    - Hydra cannot set a list where a mapping is, or the other way round; see `apply_overrides`
      (for words) and `_merged` (for files).

    Args:
        check: called with the composed configuration and the overrides; raises to reject it.
        may_set_mode: whether the user's arguments or files could set hydra.mode.
    """

    class Checked(ConfigLoaderImpl):
        def __init__(self, config_search_path: ConfigSearchPath) -> None:
            places = config_search_path.get_path()
            main = [place.provider for place in places].index("main")
            places.insert(main + 1, places[-1])  # the last one is Hydra's "schema"
            super().__init__(config_search_path)

        def load_configuration(
            self, config_name: Any, overrides: Any, run_mode: Any, *others: Any, **named: Any
        ) -> DictConfig:
            words = (config_name, overrides, run_mode)
            with _swept_groups_of(self, overrides, run_mode):
                config = super().load_configuration(*words, *others, **named)
            plain: Any = OmegaConf.to_container(config)
            remember(plain)
            check(config, overrides)
            _hide_in_folder_names(config, plain["hydra"]["overrides"]["task"])
            return config

    changes: list[tuple[Any, str, Any]] = [
        (ConfigLoaderImpl, "_apply_overrides_to_config", staticmethod(apply_overrides)),
        (BaseContainer, "merge_with", _merged),
        (hydra_internals, "ConfigLoaderImpl", Checked),
        (OmegaConf, "to_yaml", staticmethod(_hidden_yaml)),
        (yaml, "SafeLoader", LimitedLoader),
        (ConfigRepository, "load_config", _loaded_from_inside),
    ]
    if not may_set_mode:
        changes.append((hydra_internals.Hydra, "get_mode", lambda *_, **__: None))
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        with limited_reference():
            yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)


@contextmanager
def typed(arguments: Sequence[str]) -> Iterator[None]:
    """Put these command-line words into sys.argv, where Hydra reads them."""
    before, sys.argv = sys.argv, ["mlrun", *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextmanager
def without_resolvers(*names: str) -> Iterator[None]:
    """Let references such as `${NAME:…}` fail in this block."""
    before = dict(BaseContainer._resolvers)
    for name in names:
        del BaseContainer._resolvers[name]
    try:
        yield
    finally:
        BaseContainer._resolvers.update({name: before[name] for name in names})


def known_flags() -> list[str]:
    """Return the options of Hydra's command line, e.g. --multirun."""
    return [flag for action in get_args_parser()._actions for flag in action.option_strings]


def _loaded_from_inside(repository: ConfigRepository, config_path: str) -> Any:
    """Read an option, if its file is in the folder of options where Hydra found it."""
    source = repository._find_object_source(config_path, ObjectType.CONFIG)
    if source is not None and source.scheme() == "file":
        place, file = Path(source.path).resolve(), f"{config_path.removesuffix('.yaml')}.yaml"
        if not (place / file).resolve().is_relative_to(place):
            raise MlrunError(f"{file}: refused; it is outside {source.path}")
    return _LOAD(repository, config_path)


def apply_overrides(overrides: Sequence[Override], config: DictConfig) -> None:
    """Set values in a configuration with Hydra's own checks and errors.

    A list replaces a mapping, and a mapping a list; Hydra alone would try to merge them.
    """
    for override in overrides:
        if _is_of_some_job(override, config):
            continue
        _make_room(override, config)
        _APPLY([override], config)


_swept_groups: ContextVar[frozenset[str]] = ContextVar(
    "groups with several options", default=frozenset()
)


@contextmanager
def _swept_groups_of(
    loader: ConfigLoaderImpl, overrides: Sequence[str], run_mode: RunMode
) -> Iterator[None]:
    """Note the groups of which a sweep has several options.

    Its configuration has one of them, not necessarily an option with the keys of a job.
    """
    parsed = []
    if run_mode == RunMode.MULTIRUN:
        with suppress(OverrideParseException):  # raised again when Hydra composes
            parsed = OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
    several = frozenset(one.key_or_group for one in parsed if one.is_sweep_override())
    token = _swept_groups.set(several)
    try:
        yield
    finally:
        _swept_groups.reset(token)


def _is_of_some_job(override: Override, config: DictConfig) -> bool:
    """Whether the override sets a key that only some options of a swept group have."""
    group, _, key = override.key_or_group.partition(".")
    if group not in _swept_groups.get() or override.type != OverrideType.CHANGE or not key:
        return False
    parent, _, last = override.key_or_group.rpartition(".")
    node = OmegaConf.select(config, parent)
    return not (isinstance(node, DictConfig) and last in node)


def _make_room(override: Override, config: DictConfig) -> None:
    """Empty a value that cannot be merged with the override's."""
    value = override.value()
    path, _, key = override.key_or_group.rpartition(".")
    parent = OmegaConf.select(config, path) if path else config
    if isinstance(value, dict | list) and isinstance(parent, DictConfig) and key in parent:
        _empty_if_other(parent, key, dict if isinstance(value, dict) else list)


def _merged(target: Any, *others: Any) -> None:
    """Merge like OmegaConf, but a list replaces a mapping, and a mapping a list."""
    for other in others:
        _make_room_for(other, target)
    _MERGE(target, *others)


def _make_room_for(source: Any, target: Any) -> None:
    if not (_is_mapping(source) and _is_mapping(target)):
        return
    for key in source:
        node = source._get_node(key)
        if isinstance(node, DictConfig | ListConfig) and key in target:
            _empty_if_other(target, str(key), dict if isinstance(node, DictConfig) else list)
            _make_room_for(node, target._get_node(key))


def _is_mapping(node: Any) -> bool:
    """Whether this is a DictConfig with keys."""
    empty = not isinstance(node, DictConfig) or node._is_none() or node._is_missing()
    return not (empty or node._is_interpolation())


def _empty_if_other(parent: DictConfig, key: str, kind: type) -> None:
    """Set a plain list to null if a mapping comes, and the other way round."""
    before = parent._get_node(key)
    other = ListConfig if kind is dict else DictConfig
    if isinstance(before, other) and OmegaConf.get_type(before) in (dict, list):
        with flag_override(parent, ["readonly", "struct"], False):
            parent[key] = None


def _hide_in_folder_names(config: DictConfig, words: list[str]) -> None:
    """Hide secrets in `${hydra.job.override_dirname}`, which Hydra makes of these words."""
    if hide_in_words(words) != words:
        overrides = OverridesParser.create().parse_overrides(words)
        name = overrides_dirname(overrides, config.hydra.job.config.override_dirname)
        config.hydra.job.override_dirname = name


def _hidden_yaml(config: Any, *, resolve: bool = False, sort_keys: bool = False) -> str:
    """Do the work of OmegaConf.to_yaml, without secrets."""
    with limited_references():
        value: Any = OmegaConf.to_container(config, resolve=resolve, enum_to_str=True)
    remember(value)
    if isinstance(value, list):  # the words of a job
        return to_yaml(hide_in_words(value))
    overrides = (value or {}).get("hydra", {}).get("overrides", {})
    for group, words in overrides.items():
        overrides[group] = hide_in_words(words)
    return to_yaml(hide(value, str(config._get_full_key(None) or "")), sort_keys=sort_keys)


def overrides_dirname(overrides: Sequence[Override], settings: Mapping[str, Any]) -> str:
    """Return the value of `${hydra.job.override_dirname}`, without secrets.

    Args:
        overrides: the overrides of the job.
        settings: the node hydra.job.config.override_dirname.
    """
    separators = {"kv_sep": settings["kv_sep"], "item_sep": settings["item_sep"]}
    exclude = list(settings["exclude_keys"])
    words = hide_in_words([str(override.input_line) for override in overrides])
    hidden = [replace(one, input_line=w) for one, w in zip(overrides, words, strict=True)]
    return str(get_overrides_dirname(hidden, exclude_keys=exclude, **separators))


def returned(job: JobReturn) -> Any:
    """Return the result of a job, or its exception, which `return_value` would raise."""
    return job._return_value


def to_yaml(value: Any, *, sort_keys: bool = False) -> str:
    """Return plain values as YAML, like OmegaConf.to_yaml but much faster."""
    return str(
        yaml.dump(
            value,
            Dumper=_Dumper,
            default_flow_style=False,
            allow_unicode=True,
            sort_keys=sort_keys,
        )
    )


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes texts that YAML would read as another type."""


def _as_text(dumper: Any, text: str) -> Any:
    """Write a text; bytes of the command line that are no text become \\udcff, as in JSON."""
    text = text.encode(errors="backslashreplace").decode()
    return OmegaConfDumper.str_representer(dumper, text)


_Dumper.add_representer(str, _as_text)
