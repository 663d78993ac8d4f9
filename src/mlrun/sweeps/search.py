"""`hydra/sweeper=optuna`: points chosen by what those before came to, a batch at a time.

A batch is trained together like any jobs. The study lies in the sweep folder; a trial's number is
its job's. Each batch draws from a generator of its own, so that a resumed search goes on as it
would have without the stop.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from mlrun.config.hydra_patches import ConfigLoader
from mlrun.config.recorded import from_the_record, places, put_in_place, with_references
from mlrun.config.values import Composed
from mlrun.errors import MlrunError, did_you_mean
from mlrun.sweeps import dry_run_asked
from mlrun.sweeps.folder import SweepFolder, at_work, queue
from mlrun.sweeps.jobs import Jobs
from mlrun.sweeps.journal import DONE, FAILED, Entry
from mlrun.sweeps.launch import (
    check_keys,
    concluded,
    is_ours,
    jobs_of,
    launch_elsewhere,
    new_sweep,
    overrides_of,
)
from mlrun.sweeps.points import Composer, Point
from mlrun.sweeps.processes import WorkerPool
from mlrun.sweeps.progress import SweepProgress
from mlrun.training.metrics import check_objectives, higher_is_better

try:
    import optuna
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, TrialState
except ImportError:
    raise MlrunError("hydra/sweeper=optuna needs: pip install 'mlrun-cli[sweep]'") from None

SAMPLERS = ("tpe", "random", "grid", "cmaes")
STUDY, STORAGE = "sweep", "optuna.journal"


@dataclass(frozen=True)
class Space:
    """What every trial has, and what is chosen for each."""

    fixed: tuple[str, ...]  # words
    ranges: dict[str, BaseDistribution]


@dataclass(frozen=True)
class SearchPlan:
    """How many trials, how many at once, and who chooses them."""

    sampler: str
    trials: int
    at_once: int
    seed: int

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            hint = did_you_mean(self.sampler, SAMPLERS)
            raise MlrunError(f"hydra.sweeper.sampler={self.sampler}: {', '.join(SAMPLERS)}.{hint}")
        for name, value in (("n_trials", self.trials), ("n_jobs", self.at_once)):
            if value < 1:
                raise MlrunError(f"hydra.sweeper.{name}={value}: must be at least 1")


def search(
    config: DictConfig, loader: ConfigLoader, launcher: Launcher | None, arguments: Sequence[str]
) -> None:
    """Search the space that the arguments and `hydra.sweeper.params` span.

    Raises:
        MlrunError: they span none; nothing was made.
        JobsFailed: when all else is done.
        Interrupted: Ctrl-C or SIGTERM.
    """
    asked = config.hydra.sweeper
    overrides = overrides_of(config, loader, arguments)
    space = space_of(overrides)
    plan = SearchPlan(asked.sampler, asked.n_trials, asked.n_jobs, asked.seed)
    composer = Composer(loader, config)
    [first] = composer.points([_corner(space)], 0)
    if first.settings.sweep.halving:
        raise MlrunError("sweep.halving goes with hydra/sweeper=mlrun: a search chooses by itself")
    check_keys([*space.ranges])
    check_objectives(first.settings.sweep.objectives or [])
    if first.settings.sweep.objectives and plan.sampler == "cmaes":
        raise MlrunError("hydra.sweeper.sampler=cmaes searches for one objective; tpe for several")
    if dry_run_asked.get():
        raise MlrunError("--dry-run tells of sweeps whose jobs are known before: not of a search")
    for chosen in _choices(space, composer):
        composer.compose([*space.fixed, *chosen])
    told = vars(plan) | {"words": [_written_out(override) for override in overrides]}
    frozen = [_frozen(choices, base) for choices, base in composer.bases.items()]
    opened = new_sweep(config, [first], [], keys=[*space.ranges], search=told, frozen=frozen)
    elsewhere = None if is_ours(launcher) else launcher
    with concluded(opened, quiet=first.settings.quiet), at_work(opened):
        _Search(opened, space, plan, composer, first).go_on(elsewhere)


def resume_search(opened: SweepFolder, folder: str) -> None:
    """Go on with a search, to the number of trials it was begun for.

    Args:
        opened: its sweep.
        folder: where data is, if that came from the environment.
    """
    told, source = opened.record["search"], opened.path / "sweep.json"
    space = space_of(OverridesParser.create().parse_overrides(told["words"]))
    frozen = {}
    for one in opened.record["frozen"]:
        values = put_in_place(one["config"], one["places"], folder)
        base = from_the_record(values, source, references=True)
        frozen[tuple(one["choices"])] = OmegaConf.create(dict(base.raw))
    plan = SearchPlan(told["sampler"], told["trials"], told["at_once"], told["seed"])
    composer = Composer(None, None, frozen)
    [first] = composer.points([_corner(space)], 0)
    _Search(opened, space, plan, composer, first).go_on(None)


# --- the space ---


def space_of(overrides: Sequence[Override]) -> Space:
    """What the overrides span.

    Raises:
        MlrunError: nothing, or a range that is none.
    """
    fixed = [
        override.input_line or "" for override in overrides if not override.is_sweep_override()
    ]
    ranges = {o.get_key_element(): _range(o) for o in overrides if o.is_sweep_override()}
    if "seed" in ranges:
        raise MlrunError("seed is nothing to search for: search first, then repeat the best ones")
    if not ranges:
        raise MlrunError(
            "nothing to search: name ranges, e.g. 'optimizer.lr=tag(log,interval(1e-4,1e-1))' "
            "model.hidden=[16],[32,16]; hparams=… has those of a task (mlrun ls hparams)"
        )
    return Space(tuple(fixed), ranges)


def _range(override: Override) -> BaseDistribution:
    sweep: Any = override.value()
    tags = set(getattr(sweep, "tags", ()))
    if odd := sorted(tags - {"log"}):
        raise MlrunError(f"{override.input_line}: no tag '{odd[0]}', only log")
    log = "log" in tags
    try:
        if isinstance(sweep, IntervalSweep):
            low: Any = sweep.start  # whole where int(…) is around
            high: Any = sweep.end
            if type(low) is type(high) is int:
                return IntDistribution(low, high, log=log)
            return FloatDistribution(low, high, log=log)
        values = [*override.sweep_string_iterator()]
        if isinstance(sweep, RangeSweep) and isinstance(sweep.start, int):
            return IntDistribution(int(values[0]), int(values[-1]), step=int(sweep.step))
        return CategoricalDistribution(values)
    except (ValueError, TypeError, IndexError) as error:
        raise MlrunError(f"{override.input_line}: {error}") from None


def _written_out(override: Override) -> str:
    """As it can be read where the files of its options are no more."""
    if override.is_sweep_override() and override.is_discrete_sweep():
        sweep: Any = override.value()
        if not isinstance(sweep, RangeSweep):
            choices = ",".join(override.sweep_string_iterator())
            return f"{override.get_key_element()}=choice({choices})"
    return override.input_line or ""


def _corner(space: Space) -> list[str]:
    """Some point, to see that there are any."""
    return _words(space, {key: _values(found)[0] for key, found in space.ranges.items()})


def _values(found: BaseDistribution) -> list[Any]:
    """Those there are, or the ends of an interval."""
    if isinstance(found, CategoricalDistribution):
        return list(found.choices)
    if isinstance(found, IntDistribution) and not found.log:
        return [*range(found.low, found.high + 1, found.step)]
    assert isinstance(found, IntDistribution | FloatDistribution)
    return [found.low, found.high]


def _words(space: Space, values: Mapping[str, Any]) -> list[str]:
    return [*space.fixed, *(f"{key}={values[key]}" for key in space.ranges)]


def _choices(space: Space, composer: Composer) -> Iterator[list[str]]:
    """Every combination of what is chosen from groups."""
    named = [
        [f"{key}={value}" for value in found.choices]
        for key, found in space.ranges.items()
        if isinstance(found, CategoricalDistribution)
    ]
    groups = [words for words in named if not composer.is_plain(words[0])]
    yield from map(list, itertools.product(*groups))


def _frozen(choices: Sequence[str], config: Composed) -> dict[str, Any]:
    recorded, asked = with_references(config), places(config)
    return {"choices": list(choices), "config": recorded, "places": asked}


# --- the search ---


class _Search:
    """A study and the jobs that are its trials."""

    def __init__(
        self, opened: SweepFolder, space: Space, plan: SearchPlan, composer: Composer, first: Point
    ) -> None:
        self._sweep, self._space, self._plan = opened, space, plan
        self._composer, self._first = composer, first
        trainer = first.settings.trainer
        self._objectives = first.settings.sweep.objectives or []
        higher = [higher_is_better(name, "auto") for name in self._objectives]
        higher = higher or [higher_is_better(trainer.monitor, trainer.mode)]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(opened.path / STORAGE))),
            study_name=STUDY,
            directions=["maximize" if one else "minimize" for one in higher],
            load_if_exists=True,
        )

    def go_on(self, launcher: Launcher | None) -> None:
        """Up to the number of trials that is planned; with what was begun first."""
        most = self._plan.trials
        if self._plan.sampler == "grid":
            most = min(most, math.prod(len(_values(r)) for r in self._space.ranges.values()))
        with SweepProgress(most, quiet=self._first.settings.quiet) as progress:
            jobs = jobs_of(self._sweep, self._first, progress)
            begun = [t for t in self._study.trials if t.state == TrialState.RUNNING]
            self._train_trials({trial.number: trial.params for trial in begun}, jobs, None)
            while (number := len(self._study.trials)) < most:
                self._study.sampler = self._sampler(number)
                count = min(self._plan.at_once, most - number)
                asked = [self._study.ask(self._space.ranges) for _ in range(count)]
                self._train_trials({trial.number: trial.params for trial in asked}, jobs, launcher)

    def _sampler(self, number: int) -> "optuna.samplers.BaseSampler":
        """For the batch that begins with this trial: a resumed search draws the same."""
        kind, seed = self._plan.sampler, self._plan.seed + number
        if kind == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        if kind == "cmaes":
            return optuna.samplers.CmaEsSampler(seed=seed)
        if kind == "grid":
            return _Grid(self._space)
        return optuna.samplers.TPESampler(seed=seed)

    def _train_trials(
        self,
        trials: Mapping[int, Mapping[str, Any]],
        jobs: Jobs | WorkerPool,
        launcher: Launcher | None,
    ) -> None:
        """Train the trials that have not ended, and tell the study what came of all."""
        journal = self._sweep.journal
        entries = journal.read() if journal.path.exists() else {}
        ended = [n for n in trials if n in entries and entries[n].status in (DONE, FAILED)]
        points = [self._point(n, trials[n]) for n in trials if n not in ended]
        queue(journal, [point for point in points if point.number not in entries])
        if points and launcher is not None:
            launch_elsewhere(self._sweep, launcher, points)
        elif points:
            jobs.train(points)
        entries = journal.read()
        for number in trials:
            self._tell(number, entries[number])

    def _point(self, number: int, values: Mapping[str, Any]) -> Point:
        [point] = self._composer.points([_words(self._space, values)], number)
        return point

    def _tell(self, number: int, entry: Entry) -> None:
        reached = entry.objectives or {}
        values = [reached.get(name) for name in self._objectives] or [entry.score]
        if entry.status == DONE and None not in values:
            self._study.tell(number, [value for value in values if value is not None])
        else:
            self._study.tell(number, state=TrialState.FAIL)


class _Grid(optuna.samplers.BaseSampler):
    """Every combination in turn; optuna's own wants to stop a study that it does not run."""

    def __init__(self, space: Space) -> None:
        values = {key: _values(found) for key, found in space.ranges.items()}
        self._points = [
            dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())
        ]

    def infer_relative_search_space(self, *_: Any) -> dict[str, BaseDistribution]:
        """optuna's hook: nothing is drawn together."""
        return {}

    def sample_relative(self, *_: Any) -> dict[str, Any]:
        """optuna's hook."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """optuna's hook: one value of a trial."""
        return self._points[trial.number % len(self._points)][name]
