"""The search space of a search: fixed words and ranges."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException

from mlrun.config.words import hide_in_words
from mlrun.errors import MlrunError
from mlrun.sweeps.points import Composer
from mlrun.system.secrets import HIDDEN

try:
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
except ImportError:
    raise MlrunError("hydra/sweeper=optuna needs: pip install 'mlrun-cli[sweep]'") from None


MOST_VALUES = 100_000  # of one key, in a list
LARGEST_WHOLE = 2**53  # beyond it the samplers, which compute in float64, miss numbers


@dataclass(frozen=True)
class Space:
    """The search space: fixed words, and ranges for the sampler."""

    fixed: tuple[str, ...]  # words
    ranges: dict[str, BaseDistribution]


def space_of(overrides: Sequence[Override]) -> Space:
    """Return the search space of the overrides.

    Raises:
        MlrunError: there are no ranges, or a range is invalid.
    """
    fixed = [
        override.input_line or "" for override in overrides if not override.is_sweep_override()
    ]
    ranges = {o.get_key_element(): _range(o) for o in overrides if o.is_sweep_override()}
    if "seed" in ranges:
        raise MlrunError(
            "seed is not a search parameter; search first, then repeat the best settings"
        )
    if not ranges:
        raise MlrunError(
            "no search space: give ranges, e.g. 'optimizer.lr=tag(log,interval(1e-4,1e-1))' "
            "model.hidden=[16],[32,16], or use hparams=… (see mlrun ls hparams)"
        )
    return Space(tuple(fixed), ranges)


def _range(override: Override) -> BaseDistribution:
    sweep: Any = override.value()
    if HIDDEN in written_out(override):
        key = override.key_or_group
        raise MlrunError(f"{key}: a search records each value, and this is a secret; give it one")
    tags = set(getattr(sweep, "tags", ()))
    if odd := sorted(tags - {"log"}):
        raise MlrunError(f"{override.input_line}: unknown tag '{odd[0]}'; only log is supported")
    log = "log" in tags
    try:
        if isinstance(sweep, IntervalSweep):
            low: Any = sweep.start  # an integer with int(…)
            high: Any = sweep.end
            _check_bounds(low, high)
            if type(low) is type(high) is int:
                return IntDistribution(low, high, log=log)
            return FloatDistribution(low, high, log=log)
        if isinstance(sweep, RangeSweep) and isinstance(numbers := sweep.range(), range):
            _check_bounds(numbers[0], numbers[-1])
            return IntDistribution(numbers[0], numbers[-1], step=numbers.step)
        return CategoricalDistribution(_few(override))
    except (ValueError, TypeError, IndexError, ArithmeticError, HydraException) as error:
        raise MlrunError(f"{override.input_line}: {error}") from None


def _check_bounds(low: float, high: float) -> None:
    """Check that the samplers can compute with the ends of a range.

    Raises:
        ValueError: they cannot.
    """
    whole = isinstance(low, int) and isinstance(high, int)
    if whole and max(abs(low), abs(high)) > LARGEST_WHOLE:
        raise ValueError(f"its ends must be at most {LARGEST_WHOLE}")
    if not math.isfinite(high - low):
        raise ValueError("its ends must be finite, and not too far apart")


def space_again(words: Sequence[str]) -> Space:
    """Return the search space of words that were written out.

    Raises:
        MlrunError: a word contained a secret.
    """
    if hidden := [word.partition("=")[0] for word in words if HIDDEN in word]:
        raise MlrunError(f"{hidden[0]} was a secret and is not recorded; search anew")
    return space_of(OverridesParser.create().parse_overrides([*words]))


def _few(override: Override) -> list[str]:
    values = [*itertools.islice(override.sweep_string_iterator(), MOST_VALUES + 1)]
    if len(values) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values; use interval(…)")
    return values


def written_out(override: Override) -> str:
    """Return the override without secrets, in a form that does not need the option files."""
    return hide_in_words([_written_out(override)])[0]


def _written_out(override: Override) -> str:
    if override.is_sweep_override() and override.is_discrete_sweep():
        sweep: Any = override.value()
        if not isinstance(sweep, RangeSweep):
            choices = ",".join(override.sweep_string_iterator())
            return f"{override.get_key_element()}=choice({choices})"
    return override.input_line or ""


def corner(space: Space) -> list[str]:
    """Return some point, to check that the space is valid."""
    return chosen_words(space, {key: values_of(found)[0] for key, found in space.ranges.items()})


def values_of(found: BaseDistribution) -> Sequence[Any]:
    """Return all values, or the ends of an interval."""
    if isinstance(found, CategoricalDistribution):
        return found.choices
    if isinstance(found, IntDistribution) and not found.log:
        return range(found.low, found.high + 1, found.step)
    assert isinstance(found, IntDistribution | FloatDistribution)
    return [found.low, found.high]


def chosen_words(space: Space, values: Mapping[str, Any]) -> list[str]:
    """Return the overrides of a point: the fixed words, and a word for each chosen value."""
    return [*space.fixed, *(f"{key}={values[key]}" for key in space.ranges)]


def recorded_values(space: Space, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the values of a point from its overrides.

    Raises:
        ValueError: naming an override that is not in the space.
    """
    words = dict(word.partition("=")[::2] for word in overrides)
    return {key: _value(key, words.get(key, ""), found) for key, found in space.ranges.items()}


def _value(key: str, text: str, found: BaseDistribution) -> Any:
    try:
        if isinstance(found, CategoricalDistribution):
            return found.choices[found.choices.index(text)]
        assert isinstance(found, IntDistribution | FloatDistribution)
        value = int(text) if isinstance(found, IntDistribution) else float(text)
    except ValueError:
        raise ValueError(f"{key}={text}") from None
    within = found.low <= value <= found.high
    if not within or (isinstance(value, int) and (value - found.low) % int(found.step or 1)):
        raise ValueError(f"{key}={text}")
    return value


def group_choices(space: Space, composer: Composer) -> Iterator[list[str]]:
    """Yield every combination of options from groups."""
    named = [
        [f"{key}={value}" for value in found.choices]
        for key, found in space.ranges.items()
        if isinstance(found, CategoricalDistribution)
    ]
    groups = [words for words in named if not composer.is_plain(words[0])]
    yield from map(list, itertools.product(*groups))
