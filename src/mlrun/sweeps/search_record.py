"""A search in sweep.json: settings, the words of its space, the configurations of its points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mlrun.config.recorded import (
    from_the_record,
    looks_up,
    path_references,
    with_paths,
    with_references,
)
from mlrun.config.signature import from_plain
from mlrun.config.values import Composed
from mlrun.config.words import hide_in_words
from mlrun.errors import MlrunError, did_you_mean

SAMPLERS = ("tpe", "random", "grid", "cmaes")
MOST_AT_ONCE = 10_000  # a batch is in memory before its first trial starts
SEARCH, BASES = "search", "frozen"  # entries of sweep.json


@dataclass(frozen=True)
class SearchPlan:
    """The settings of a search: sampler, number of trials, batch size, seed."""

    sampler: str
    trials: int
    at_once: int
    seed: int

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            hint = did_you_mean(self.sampler, SAMPLERS)
            raise MlrunError(
                f"hydra.sweeper.sampler={self.sampler}: must be one of {', '.join(SAMPLERS)}.{hint}"
            )
        for name, value in (("n_trials", self.trials), ("n_jobs", self.at_once)):
            if value < 1:
                raise MlrunError(f"hydra.sweeper.{name}={value}: must be at least 1")
        if self.at_once > MOST_AT_ONCE:
            raise MlrunError(f"hydra.sweeper.n_jobs={self.at_once}: must be at most {MOST_AT_ONCE}")


@dataclass(frozen=True)
class _Base:
    """A configuration composed from files, and the words that selected its options."""

    choices: tuple[str, ...]
    config: Mapping[str, Any]
    places: Mapping[str, str]


def search_record(
    plan: SearchPlan, words: Sequence[str], bases: Mapping[tuple[str, ...], Composed]
) -> dict[str, Any]:
    """Return the entries of sweep.json from which `read_search` and `thawed_bases` rebuild."""
    frozen = [
        {
            "choices": hide_in_words(choices),
            "config": with_references(config),
            "places": path_references(config),
        }
        for choices, config in bases.items()
    ]
    return {SEARCH: vars(plan) | {"words": list(words)}, BASES: frozen}


def read_search(record: Mapping[str, Any], source: Path) -> tuple[SearchPlan, list[str]]:
    """Return the plan of a search, and the words of its space.

    Raises:
        MlrunError: they are damaged, or a word looks something up.
    """
    entry = record[SEARCH]
    words = entry.get("words") if isinstance(entry, Mapping) else None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise MlrunError(f"{source} is damaged: the search has no words")
    names = [field.name for field in fields(SearchPlan)]
    plan = {name: entry[name] for name in names if name in entry}
    for word in words:
        if looks_up(word):
            raise MlrunError(f"{source}: {word}: refused; it would look something up again")
    return from_plain(SearchPlan, plan, source=str(source)), words


def thawed_bases(record: Mapping[str, Any], source: Path, folder: str) -> dict[Any, DictConfig]:
    """Return the configurations composed from files, by the words that selected their options.

    Args:
        record: the content of sweep.json.
        source: its path, for messages.
        folder: the data folder, if it came from the environment.

    Raises:
        MlrunError: they are damaged or refused.
    """
    entries = record.get(BASES)
    if not isinstance(entries, list) or not entries:
        raise MlrunError(f"{source} is damaged: the search has no configuration")
    found = {}
    for entry in entries:
        base = from_plain(_Base, entry, source=str(source))
        places = {key: str(text) for key, text in base.places.items()}
        values = with_paths(dict(base.config), places, folder)
        config = from_the_record(values, source, references=True)
        found[base.choices] = OmegaConf.create(dict(config.raw))
    return found
