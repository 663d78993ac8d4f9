"""The grid of a sweep: the jobs from every combination of values, and the keys that differ."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence

from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep, ValueType

from mlrun.errors import MlrunError
from mlrun.sweeps.points import Point

MOST_JOBS = 100_000


def combinations(overrides: Sequence[Override]) -> list[list[str]]:
    """Return the words of each job, as typed: every combination of the values.

    Raises:
        MlrunError: a value appears twice, a range has no step, or there are too many jobs.
    """
    if math.prod(map(_count, overrides)) > MOST_JOBS:
        raise MlrunError(f"more than {MOST_JOBS} jobs: a search takes some of them, -m hparams=…")
    jobs = [*itertools.product(*map(_choices, overrides))]
    spelled = Counter(tuple(word for _, word in job) for job in jobs)
    if twice := [words for words, count in spelled.items() if count > 1]:
        raise MlrunError(f"{' '.join(twice[0])}: this job appears twice; give each value once")
    return [[word for word, _ in job] for job in jobs]


def _count(override: Override) -> int:
    """Return the number of values, without writing them out."""
    value = override.value()
    if isinstance(value, RangeSweep):
        if not value.step:
            raise MlrunError(f"{override.input_line}: the step of a range must not be 0")
        size = ((value.stop or 0) - (value.start or 0)) / value.step
        return max(math.ceil(size), 0) if math.isfinite(size) else MOST_JOBS + 1
    return len(value.list) if isinstance(value, ChoiceSweep) else 1


def _choices(override: Override) -> list[tuple[str, str]]:
    """Return each value as typed and in Hydra's spelling (1e-3 and 0.001 are equal)."""
    line, key = override.input_line or "", override.get_key_element()
    if not override.is_sweep_override():
        return [(line, line)]
    spelled = [f"{key}={value}" for value in override.sweep_string_iterator()]
    text = line.partition("=")[2].strip()
    typed = [f"{key}={value.strip()}" for value in text.split(",")]
    # Commas inside quotes, lists and functions (`sort(3,1,2)`) do not separate values.
    plain = override.value_type == ValueType.SIMPLE_CHOICE_SWEEP and not re.match(r"\w+\(", text)
    simple = plain and len(typed) == len(spelled)
    return list(zip(typed if simple else spelled, spelled, strict=True))


def swept(points: Sequence[Point]) -> list[str]:
    """Return the keys in which the points differ, in the order of the overrides."""
    values: dict[str, set[str]] = {}
    for point in points:
        for word in point.overrides:
            key, _, value = word.partition("=")
            values.setdefault(key, set()).add(value)
    return [key for key, found in values.items() if len(found) > 1]


def without_seed(overrides: Sequence[str]) -> tuple[str, ...]:
    """Return the overrides that identify a setting: all but the seed."""
    return tuple(word for word in overrides if word.partition("=")[0] != "seed")
