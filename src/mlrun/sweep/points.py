"""The points of a sweep: each job's configuration, all of them known before the first one starts.

Hydra composes every job twice, from files, which takes half a second. Here files are read once for
each combination of options; plain values are set by Hydra's own function on copies of that.
"""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf

from mlrun.config import Settings, settings_of
from mlrun.errors import MlrunError


@dataclass(frozen=True)
class Point:
    """A job to be: its number in the sweep, what it overrides, and its whole configuration."""

    number: int
    overrides: tuple[str, ...]
    folder: str  # in the sweep's
    config: DictConfig = field(repr=False)
    settings: Settings = field(repr=False)

    @property
    def name(self) -> str:
        """What tells it from the others, for people."""
        return " ".join(self.overrides)


class Composer:
    """Composes points as Hydra would.

    Args:
        loader: Hydra's; none where all that is chosen is in `frozen`.
        master: the sweep's own configuration, `hydra` included.
        frozen: what has been composed already, by the words that choose options.
    """

    def __init__(
        self,
        loader: ConfigLoaderImpl | None,
        master: DictConfig | None,
        frozen: Mapping[tuple[str, ...], DictConfig] = MappingProxyType({}),
    ) -> None:
        self._loader, self._master = loader, master
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, Override] = {}
        self.composed = dict(frozen)
        self._chosen = {word for words in frozen for word in words}

    def points(self, jobs: Sequence[Sequence[str]], first: int) -> list[Point]:
        """A point for each job's overrides, numbered from `first`.

        Raises:
            MlrunError: a setting's type or range is wrong.
            Exception: Hydra's, where no configuration comes of the words.
        """
        found = [self._point(first + number, job) for number, job in enumerate(jobs)]
        folders = Counter(point.folder for point in found)
        if shared := [folder for folder, count in folders.items() if count > 1]:
            raise MlrunError(f"hydra.sweep.subdir: several jobs would be written to {shared[0]}")
        return found

    def _point(self, number: int, words: Sequence[str]) -> Point:
        config = self.compose(words)
        try:
            folder = self._folder(number, words, config)
            return Point(number, tuple(words), folder, config, settings_of(config))
        except MlrunError as error:
            raise MlrunError(f"job {number} ({' '.join(words)}): {error}") from error

    def compose(self, words: Sequence[str]) -> DictConfig:
        """The configuration of these overrides, without the `hydra` node."""
        parsed = [self._parse(word) for word in words]
        plain = [override for override in parsed if self._sets_a_value(override)]
        choices = tuple(o.input_line or "" for o in parsed if not self._sets_a_value(o))
        if choices not in self.composed:
            self.composed[choices] = self._from_files(choices)
        config = copy.deepcopy(self.composed[choices])
        ConfigLoaderImpl._apply_overrides_to_config(plain, config)
        return config

    def _folder(self, number: int, words: Sequence[str], config: DictConfig) -> str:
        """Its number, or what `hydra.sweep.subdir` makes of it."""
        if self._master is None:
            return str(number)
        hydra = self._master.hydra
        if OmegaConf.to_container(hydra.sweep)["subdir"] == ".":  # type: ignore[index,call-overload]
            return str(number)
        whole = copy.deepcopy(config)
        OmegaConf.update(whole, "hydra", copy.deepcopy(hydra), force_add=True)
        told = hydra.job.config.override_dirname
        separators = {"kv_sep": told.kv_sep, "item_sep": told.item_sep}
        overrides = [self._parse(word) for word in words]
        name = get_overrides_dirname(overrides, exclude_keys=list(told.exclude_keys), **separators)
        for key, value in (("num", number), ("id", str(number)), ("override_dirname", name)):
            OmegaConf.update(whole, f"hydra.job.{key}", value, force_add=True)
        return str(OmegaConf.select(whole, "hydra.sweep.subdir"))

    def _parse(self, word: str) -> Override:
        if word not in self._parsed:
            self._parsed[word] = self._parser.parse_override(word)
        return self._parsed[word]

    def is_plain(self, word: str) -> bool:
        """Whether it sets a value that is there, and chooses no file."""
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


def swept(points: Sequence[Point]) -> list[str]:
    """The keys in which the points differ, as they were given."""
    values: dict[str, set[str]] = {}
    for point in points:
        for word in point.overrides:
            key, _, value = word.partition("=")
            values.setdefault(key, set()).add(value)
    return [key for key, found in values.items() if len(found) > 1]
