"""The results of a sweep: summary.csv and the ranking in sweep.json.

Seeds are repetitions, not parameters: jobs that differ only in `seed` are one setting, ranked by
the mean of their scores.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import le
from statistics import fmean, stdev
from typing import Any

from mlrun.runs.predictions import guarded
from mlrun.sweeps.folder import SweepFolder
from mlrun.sweeps.grid import without_seed
from mlrun.sweeps.journal import DONE, Entry
from mlrun.system.files import blamed_on, csv_rows, write_atomically
from mlrun.training.metrics import higher_is_better

SURE = 0.05  # significance level for the difference of two settings


@dataclass(frozen=True, eq=False)
class Setting:
    """Jobs that differ only in the seed."""

    overrides: tuple[str, ...]  # overrides of the swept keys, without the seed
    task: str
    monitor: str
    higher: bool  # whether a higher score is better
    own: Mapping[str, Any]  # name → node of the user's own metrics
    target: str | None  # the target column, if it was set
    jobs: tuple[Entry, ...]

    @property
    def scores(self) -> dict[int, float]:
        """Seed → score for finished jobs."""
        done = [job for job in self.jobs if job.status == DONE and job.score is not None]
        return {seed_of(job): job.score for job in done if job.score is not None}

    @property
    def mean(self) -> float:
        """Mean of the scores; requires at least one."""
        return _mean([*self.scores.values()])

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation of the scores; None for a single score."""
        if len(self.scores) < 2:
            return None
        try:
            return stdev(self.scores.values())
        except OverflowError:  # scores near the limit of floats, with different signs
            return math.inf

    @property
    def objectives(self) -> dict[str, float]:
        """Means of the objectives that all finished jobs have."""
        done = [job.objectives or {} for job in self.jobs if job.status == DONE]
        names = done[0] if done else {}
        found = {name: [one.get(name) for one in done] for name in names}
        return {
            name: _mean([value for value in values if value is not None])
            for name, values in found.items()
            if None not in values
        }

    @property
    def best_job(self) -> Entry:
        """The job with the best score."""
        sign = -1 if self.higher else 1
        done = [job for job in self.jobs if job.status == DONE and job.score is not None]
        return min(done, key=lambda job: (sign * (job.score or 0.0), job.job))


def _mean(values: Sequence[float]) -> float:
    """Return the mean, also of numbers whose sum is too large for a float."""
    try:
        return fmean(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)


def seed_of(job: Entry) -> int:
    """Return the seed of a job."""
    return int((job.config or {})["seed"])


def by_setting(entries: Sequence[Entry], swept: Sequence[str]) -> list[Setting]:
    """Group jobs by setting, in the order of their first jobs."""
    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        found.setdefault(_swept_overrides(entry, swept), []).append(entry)
    return [_setting(overrides, jobs) for overrides, jobs in found.items()]


def _swept_overrides(entry: Entry, swept: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for word in without_seed(entry.overrides) if word.partition("=")[0] in swept)


def _setting(overrides: tuple[str, ...], jobs: Sequence[Entry]) -> Setting:
    config: Mapping[str, Any] = jobs[0].config or {}
    trainer = config["trainer"]
    own = config.get("metric") or {}
    monitor, target = trainer["monitor"], config["data"].get("target")
    higher = higher_is_better(monitor, trainer["mode"], own)
    return Setting(overrides, config["task"], monitor, higher, own, target, tuple(jobs))


def ranked(settings: Sequence[Setting]) -> list[Setting]:
    """Return settings with a score, best mean first; grouped by comparable kind."""
    scored = [setting for setting in settings if setting.scores]
    kinds = list(dict.fromkeys(map(kind_of, settings)))
    return sorted(scored, key=lambda s: (kinds.index(kind_of(s)), -s.mean if s.higher else s.mean))


def front(settings: Sequence[Setting]) -> list[Setting]:
    """Return the Pareto front of comparable settings, ordered by the first objective.

    The front has the settings that no other setting dominates.
    """
    names = max((tuple(setting.objectives) for setting in settings), key=len, default=())
    whole = {s: _costs(s) for s in settings if len(s.objectives) == len(names) > 0}
    best = [
        s
        for s in settings
        if s in whole and not any(_beats(other, whole[s]) for other in whole.values())
    ]
    return sorted(best, key=lambda setting: whole[setting])


def _costs(setting: Setting) -> tuple[float, ...]:
    """Return the objectives with signs such that lower is better."""
    values = setting.objectives.items()
    return tuple(
        -value if higher_is_better(name, "auto", setting.own) else value for name, value in values
    )


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(map(le, one, other))


def kind_of(setting: Setting) -> tuple[str | None, ...]:
    """Return what settings must share for their scores to be comparable."""
    return setting.task, setting.monitor, setting.target


def difference(first: Setting, second: Setting) -> tuple[str, float] | None:
    """Test the difference of the means; return the name of the test and the p-value.

    It is the paired t-test over common seeds, otherwise Welch's; None with too few repetitions, or
    with scores that are too large to be squared.
    """
    both = sorted({*first.scores} & {*second.scores})
    if len(both) > 1:
        name = f"paired t-test over {len(both)} seeds"
        pairs = [[s.scores[seed] for seed in both] for s in (first, second)]
        chance = 1.0 if pairs[0] == pairs[1] else _chance("ttest_rel", *pairs)
    else:
        name, values = "Welch's t-test", [[*s.scores.values()] for s in (first, second)]
        if min(map(len, values)) < 2:
            return None
        chance = _chance("ttest_ind", *values, equal_var=False)
    return None if math.isnan(chance) else (name, chance)


def _chance(test: str, *values: Sequence[float], **options: Any) -> float:
    """Return the p-value of a test of scipy, without its warnings about equal or large numbers."""
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(getattr(stats, test)(*values, **options).pvalue)


def write_summary(sweep: SweepFolder) -> list[Setting]:
    """Write summary.csv and the ranking in sweep.json; return the ranking."""
    entries = [*sweep.journal.read().values()]
    swept = sweep.record["swept"]
    with blamed_on(sweep.journal.path):
        best = ranked(by_setting(entries, swept))
    write_atomically(sweep.path / "summary.csv", csv_rows(_rows(entries, swept)).encode())
    states = {entry.job: entry.status for entry in entries}
    counts = {status: [*states.values()].count(status) for status in sorted({*states.values()})}
    sweep.update(
        counts=counts,
        ranking=[_ranking_entry(setting) for setting in best],
        fronts=[[_ranking_entry(setting) for setting in one] for one in fronts(best)],
    )
    return best


def fronts(ranking: Sequence[Setting]) -> list[list[Setting]]:
    """Return the Pareto fronts of comparable settings; empty without objectives."""
    kinds = dict.fromkeys(map(kind_of, ranking))
    found = [front([one for one in ranking if kind_of(one) == kind]) for kind in kinds]
    return [one for one in found if one]


def _rows(entries: Sequence[Entry], swept: Sequence[str]) -> Iterator[list[Any]]:
    names = list(dict.fromkeys(name for entry in entries for name in entry.objectives or {}))
    header = ["job", "status", "score", "best_epoch", "epochs", *names, *swept, "folder", "error"]
    yield [*map(guarded, header)]
    for entry in entries:
        values = dict(word.partition("=")[::2] for word in entry.overrides)
        reached = entry.objectives or {}
        numbers = [entry.score, entry.best_epoch, entry.epochs, *map(reached.get, names)]
        own = [values.get(key, "") for key in swept]
        plain = ["" if value is None else value for value in numbers]
        row = [entry.job, entry.status, *plain, *own, entry.folder, entry.error]
        yield [*map(guarded, row)]  # a sweep may come from a stranger


def _ranking_entry(setting: Setting) -> dict[str, Any]:
    return {
        "overrides": list(setting.overrides),
        "task": setting.task,
        "monitor": setting.monitor,
        "mean": setting.mean,
        "deviation": setting.deviation,
        "count": len(setting.scores),
        "objectives": setting.objectives,
        "jobs": [job.job for job in setting.jobs],
        "best_job": setting.best_job.job,
    }
