"""`hydra/sweeper=optuna`: Optuna proposes points by earlier results, one batch at a time.

A batch is trained together like other jobs. The study is in the sweep folder; trial numbers equal
job numbers. Each batch has its own random generator, so that a resumed search proposes the same
points as an uninterrupted one.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from mlrun.config.hydra_patches import ConfigLoader
from mlrun.config.recorded import from_the_record, path_references, with_paths, with_references
from mlrun.config.schema import own_metrics
from mlrun.config.values import Composed
from mlrun.config.words import hide_in_words
from mlrun.errors import MlrunError, did_you_mean
from mlrun.sweeps import dry_run_requested
from mlrun.sweeps.first_look import FirstLook, look_at_data
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
from mlrun.sweeps.progress import SweepProgress
from mlrun.sweeps.search_space import (
    Space,
    chosen_words,
    corner,
    group_choices,
    space_again,
    space_of,
    values_of,
    written_out,
)
from mlrun.sweeps.worker_pool import WorkerPool
from mlrun.training.metrics import check_objectives, higher_is_better

try:
    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, TrialState
except ImportError:
    raise MlrunError("hydra/sweeper=optuna needs: pip install 'mlrun-cli[sweep]'") from None

SAMPLERS = ("tpe", "random", "grid", "cmaes")
STUDY, STORAGE = "sweep", "optuna.journal"


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


def search(
    config: DictConfig, loader: ConfigLoader, launcher: Launcher | None, arguments: Sequence[str]
) -> None:
    """Search the space given by the arguments and `hydra.sweeper.params`.

    Raises:
        MlrunError: the space is empty or invalid; nothing was written.
        JobsFailed: some jobs failed; the others are done.
        Interrupted: Ctrl-C or SIGTERM.
    """
    settings = config.hydra.sweeper
    overrides = overrides_of(config, loader, arguments)
    space = space_of(overrides)
    plan = SearchPlan(settings.sampler, settings.n_trials, settings.n_jobs, settings.seed)
    composer = Composer(loader, config)
    [first] = composer.points([corner(space)], 0)
    if first.settings.sweep.halving:
        raise MlrunError("sweep.halving cannot be combined with a search; use hydra/sweeper=mlrun")
    check_keys([*space.ranges])
    check_objectives(first.settings.sweep.objectives or [], [*own_metrics(first.config.values)])
    if first.settings.sweep.objectives and plan.sampler == "cmaes":
        raise MlrunError(
            "hydra.sweeper.sampler=cmaes supports one objective only; tpe supports several"
        )
    if dry_run_requested.get():
        raise MlrunError("--dry-run does not support a search, whose jobs are not known in advance")
    for chosen in group_choices(space, composer):
        composer.compose([*space.fixed, *chosen])
    name = config.hydra.runtime.choices["hydra/launcher"]
    look = None if _varies_data(space) else look_at_data([first], name)
    record = vars(plan) | {"words": [written_out(override) for override in overrides]}
    frozen = [_frozen(choices, base) for choices, base in composer.bases.items()]
    opened = new_sweep(config, [first], [], keys=[*space.ranges], search=record, frozen=frozen)
    elsewhere = None if is_ours(launcher) else launcher
    if look is not None:
        look.show(quiet=first.settings.quiet)
    with concluded(opened, quiet=first.settings.quiet), at_work(opened):
        _Search(opened, space, plan, composer, first).go_on(elsewhere, look)


def _varies_data(space: Space) -> bool:
    """Whether trials may differ in their data."""
    return any(key.partition(".")[0] in ("data", "task", "experiment") for key in space.ranges)


def resume_search(opened: SweepFolder, folder: str) -> None:
    """Continue a search to its planned number of trials.

    Args:
        opened: the sweep of the search.
        folder: the data folder, if it came from the environment.

    Raises:
        MlrunError: a setting is damaged or refused, or was a secret.
    """
    record, source = opened.record["search"], opened.path / "sweep.json"
    space = space_again(record["words"], source)
    frozen = {}
    for one in opened.record["frozen"]:
        values = with_paths(one["config"], one["places"], folder)
        base = from_the_record(values, source, references=True)
        frozen[tuple(one["choices"])] = OmegaConf.create(dict(base.raw))
    plan = SearchPlan(record["sampler"], record["trials"], record["at_once"], record["seed"])
    composer = Composer(None, None, frozen)
    [first] = composer.points([corner(space)], 0)
    _Search(opened, space, plan, composer, first).go_on(None)


def _frozen(choices: Sequence[str], config: Composed) -> dict[str, Any]:
    recorded, paths = with_references(config), path_references(config)
    return {"choices": hide_in_words(choices), "config": recorded, "places": paths}


# --- the search ---


class _Search:
    """A study and its jobs."""

    def __init__(
        self, opened: SweepFolder, space: Space, plan: SearchPlan, composer: Composer, first: Point
    ) -> None:
        self._sweep, self._space, self._plan = opened, space, plan
        self._composer, self._first = composer, first
        trainer = first.settings.trainer
        self._objectives = first.settings.sweep.objectives or []
        own = own_metrics(first.config.values)
        higher = [higher_is_better(name, "auto", own) for name in self._objectives]
        higher = higher or [higher_is_better(trainer.monitor, trainer.mode)]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(opened.path / STORAGE))),
            study_name=STUDY,
            directions=["maximize" if one else "minimize" for one in higher],
            load_if_exists=True,
        )

    def go_on(self, launcher: Launcher | None, look: FirstLook | None = None) -> None:
        """Run up to the planned number of trials; finish started ones first."""
        most = self._plan.trials
        if self._plan.sampler == "grid":
            most = min(most, math.prod(len(values_of(r)) for r in self._space.ranges.values()))
        with SweepProgress(most, quiet=self._first.settings.quiet) as progress:
            jobs = jobs_of(self._sweep, self._first, progress, look)
            begun = [t for t in self._study.trials if t.state == TrialState.RUNNING]
            self._train_trials({trial.number: trial.params for trial in begun}, jobs, None)
            while (number := len(self._study.trials)) < most:
                self._study.sampler = self._sampler(number)
                count = min(self._plan.at_once, most - number)
                trials = [self._study.ask(self._space.ranges) for _ in range(count)]
                self._train_trials({trial.number: trial.params for trial in trials}, jobs, launcher)

    def _sampler(self, number: int) -> "optuna.samplers.BaseSampler":
        """Return the sampler for the batch that starts with this trial; equal after a resume."""
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
        """Train the unfinished trials, and report all results to the study."""
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
            self._report(number, entries[number])

    def _point(self, number: int, values: Mapping[str, Any]) -> Point:
        [point] = self._composer.points([chosen_words(self._space, values)], number)
        return point

    def _report(self, number: int, entry: Entry) -> None:
        reached = entry.objectives or {}
        values = [reached.get(name) for name in self._objectives] or [entry.score]
        if entry.status == DONE and None not in values:
            self._study.tell(number, [value for value in values if value is not None])
        else:
            self._study.tell(number, state=TrialState.FAIL)


class _Grid(optuna.samplers.BaseSampler):
    """A grid sampler; Optuna's own would stop a study, which works only inside optimize()."""

    def __init__(self, space: Space) -> None:
        values = {key: values_of(found) for key, found in space.ranges.items()}
        self._points = [
            dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())
        ]

    def infer_relative_search_space(self, *_: Any) -> dict[str, BaseDistribution]:
        """Implement Optuna's hook: there is no joint sampling."""
        return {}

    def sample_relative(self, *_: Any) -> dict[str, Any]:
        """Implement Optuna's hook."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        """Implement Optuna's hook: return one value of a trial."""
        return self._points[trial.number % len(self._points)][name]
