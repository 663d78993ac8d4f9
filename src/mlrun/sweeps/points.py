"""The points of a sweep: the configuration of each job, composed before the first one starts.

Hydra composes every job twice from files, which takes half a second. This module reads files once
per combination of options. Hydra's own function then sets each plain value once on a copy, and the
changes, including those through references, are combined for every point.
"""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from mlrun.config.hydra_patches import ConfigLoader, apply_overrides, overrides_dirname
from mlrun.config.schema import Settings, settings_of
from mlrun.config.values import Composed, composed
from mlrun.config.words import hide_in_words
from mlrun.errors import MlrunError
from mlrun.sweeps.job_folders import check_chosen

KeyPath = tuple[str, ...]  # the keys that lead to a value


@dataclass(frozen=True)
class Point:
    """A job: its number in the sweep, its overrides, and its whole configuration."""

    number: int
    overrides: tuple[str, ...]
    folder: str  # relative to the sweep folder
    config: Composed = field(repr=False)
    settings: Settings = field(repr=False)

    @property
    def recorded(self) -> list[str]:
        """The overrides without secrets."""
        return hide_in_words(self.overrides)


class Composer:
    """Composes points like Hydra.

    Args:
        loader: Hydra's loader; None if `frozen` has all combinations of options.
        master: the configuration of the sweep, including `hydra`.
        frozen: configurations already composed, by the words that select options.
    """

    def __init__(
        self,
        loader: ConfigLoader | None,
        master: DictConfig | None,
        frozen: Mapping[tuple[str, ...], DictConfig] = MappingProxyType({}),
    ) -> None:
        self._loader, self._master = loader, master
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, Override] = {}
        self._chosen = {word for words in frozen for word in words}
        self._bases = {choices: _Base(config) for choices, config in frozen.items()}
        hydra = OmegaConf.to_container(master.hydra.sweep) if master is not None else {}
        self._numbered = str(hydra.get("subdir", ".")) == "."  # type: ignore[union-attr]

    def points(self, jobs: Sequence[Sequence[str]], first: int) -> list[Point]:
        """Compose a point for each job, numbered from `first`.

        Raises:
            MlrunError: the type or range of a setting is wrong.
            Exception: from Hydra, if the overrides are invalid.
        """
        found = [self._point(first + number, job) for number, job in enumerate(jobs)]
        check_chosen(point.folder for point in found)
        return found

    def _point(self, number: int, words: Sequence[str]) -> Point:
        config = self.compose(words)
        try:
            folder = self._folder(number, words, config)
            return Point(number, tuple(words), folder, config, settings_of(config.values))
        except MlrunError as error:
            named = " ".join(hide_in_words(words))
            raise MlrunError(f"job {number} ({named}): {error}") from error

    def compose(self, words: Sequence[str]) -> Composed:
        """Compose the configuration for these overrides, without the `hydra` node."""
        parsed = [self._parse(word) for word in words]
        plain = [override for override in parsed if self._sets_a_value(override)]
        choices = tuple(o.input_line or "" for o in parsed if not self._sets_a_value(o))
        if choices not in self._bases:
            self._bases[choices] = _Base(self._from_files(choices))
        return self._bases[choices].overridden(plain)

    @property
    def bases(self) -> Mapping[tuple[str, ...], Composed]:
        """The configurations composed from files, by the words that select options."""
        return {choices: base.composed for choices, base in self._bases.items()}

    def _folder(self, number: int, words: Sequence[str], config: Composed) -> str:
        """Return the folder: the number of the job, or the value of `hydra.sweep.subdir`."""
        if self._numbered:
            return str(number)
        assert self._master is not None
        hydra = self._master.hydra
        whole = OmegaConf.create(dict(config.raw))
        OmegaConf.update(whole, "hydra", copy.deepcopy(hydra), force_add=True)
        settings = hydra.job.config.override_dirname
        overrides = [self._parse(word) for word in words]
        name = overrides_dirname(overrides, settings)
        for key, value in (("num", number), ("id", str(number)), ("override_dirname", name)):
            OmegaConf.update(whole, f"hydra.job.{key}", value, force_add=True)
        return str(OmegaConf.select(whole, "hydra.sweep.subdir"))

    def _parse(self, word: str) -> Override:
        if word not in self._parsed:
            self._parsed[word] = self._parser.parse_override(word)
        return self._parsed[word]

    def is_plain(self, word: str) -> bool:
        """Whether the word sets an existing value instead of selecting an option."""
        return self._sets_a_value(self._parse(word))

    def _sets_a_value(self, override: Override) -> bool:
        if self._loader is None:
            return override.input_line not in self._chosen
        of_a_group = self._loader.repository.group_exists(override.key_or_group)
        plain = override.type == OverrideType.CHANGE and override.package is None
        return plain and not of_a_group and not override.is_hydra_override()

    def _from_files(self, words: Sequence[str]) -> DictConfig:
        assert self._loader is not None
        assert self._master is not None
        config = self._loader.load_sweep_config(self._master, list(words))
        OmegaConf.set_readonly(config, False)
        OmegaConf.set_struct(config, False)
        del config["hydra"]
        OmegaConf.set_struct(config, True)
        return config


class _Base:
    """The configuration of one combination of options, and the changes by plain values."""

    def __init__(self, config: DictConfig) -> None:
        self._config = config
        self.composed = composed(config)
        self._found: dict[str, _Changes] = {}
        self._nested = _is_nested(self.composed.raw)

    def overridden(self, overrides: Sequence[Override]) -> Composed:
        """Return the configuration with these values; combine independent changes."""
        found = [self._changes(override) for override in overrides]
        if self._nested or not _independent(found):
            return self._in_full(overrides)
        raw, values = self.composed.raw, self.composed.values
        for changes in found:
            for path, value in changes.raw.items():
                raw = _with(raw, path, value)
            for path, value in changes.values.items():
                values = _with(values, path, value)
        return Composed(raw, values)

    def _in_full(self, overrides: Sequence[Override]) -> Composed:
        config = copy.deepcopy(self._config)
        apply_overrides(overrides, config)
        return composed(config)

    def _changes(self, override: Override) -> "_Changes":
        word = str(override.input_line)
        if word not in self._found:
            after = self._in_full([override])
            raw = dict(_differences(self.composed.raw, after.raw))
            values = dict(_differences(self.composed.values, after.values))
            self._found[word] = _Changes(raw, values)
        return self._found[word]


@dataclass(frozen=True)
class _Changes:
    """The differences after setting a value."""

    raw: Mapping[KeyPath, Any]
    values: Mapping[KeyPath, Any]


def _differences(before: Any, after: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        for key in before:
            yield from _differences(before[key], after[key], (*path, key))
    elif repr(before) != repr(after):  # 1, 1.0 and True are equal, but not identical
        yield path, after


def _independent(found: Sequence[_Changes]) -> bool:
    """Whether the changes are independent: plain values only, each changed at most once.

    A value with a reference depends on the changes to its target.
    """
    paths = [path for changes in found for path in changes.values]
    nodes = any(isinstance(v, dict) for changes in found for v in changes.values.values())
    refers = any("${" in str(v) for changes in found for v in changes.raw.values())
    return not nodes and not refers and len({*paths}) == len(paths)


def _is_nested(raw: Any) -> bool:
    """Whether a reference contains another reference."""
    if isinstance(raw, dict | list):
        return any(map(_is_nested, raw.values() if isinstance(raw, dict) else raw))
    return isinstance(raw, str) and re.search(r"\$\{[^}]*\$\{", raw) is not None


def _with(node: Mapping[str, Any], path: KeyPath, value: Any) -> Mapping[str, Any]:
    """Return a copy with a new value at `path`; unchanged parts are shared."""
    key, *rest = path
    return {**node, key: _with(node[key], tuple(rest), value) if rest else value}
