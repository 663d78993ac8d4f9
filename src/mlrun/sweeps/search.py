"""`hydra/sweeper=optuna`: Optuna proposes points by earlier results, one batch at a time.

A batch is trained together like other jobs; trial numbers equal job numbers. The study is in
memory: a resumed search repeats it with the points and scores of the journal. Each batch has its
own random generator, so that a resumed search proposes the same points as an uninterrupted one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from mlrun.config.allowlist import check_targets
from mlrun.config.compose import explained
from mlrun.config.hydra_patches import ConfigLoader
from mlrun.config.schema import own_metrics
from mlrun.errors import MlrunError
from mlrun.sweeps import dry_run_requested
from mlrun.sweeps.first_look import look_at_data
from mlrun.sweeps.folder import SweepFolder, at_work, queue
from mlrun.sweeps.job_cache import JobCache
from mlrun.sweeps.jobs import Jobs
from mlrun.sweeps.journal import DONE, FAILED, QUEUED, Entry
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
from mlrun.sweeps.samplers import sampler_of
from mlrun.sweeps.search_record import SearchPlan, read_search, search_record, thawed_bases
from mlrun.sweeps.search_space import (
    Space,
    chosen_words,
    corner,
    group_choices,
    recorded_values,
    space_again,
    space_of,
    values_of,
    written_out,
)
from mlrun.sweeps.worker_pool import WorkerPool
from mlrun.training.metrics import check_objectives, higher_is_better

try:
    import optuna
    from optuna.trial import TrialState
except ImportError:
    raise MlrunError("hydra/sweeper=optuna needs: pip install 'mlrun-cli[sweep]'") from None


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
    _check(plan, space, first)
    if dry_run_requested.get():
        raise MlrunError("--dry-run does not support a search, whose jobs are not known in advance")
    for chosen in group_choices(space, composer):
        composer.compose([*space.fixed, *chosen])
    name = config.hydra.runtime.choices["hydra/launcher"]
    look = None if _varies_data(space) else look_at_data([first], name)
    record = search_record(plan, [*map(written_out, overrides)], composer.bases)
    opened = new_sweep(config, [first], [], keys=[*space.ranges], **record)
    elsewhere = None if is_ours(launcher) else launcher
    if look is not None:
        look.show(quiet=first.settings.quiet)
    with concluded(opened, quiet=first.settings.quiet), at_work(opened):
        Search(opened, space, plan, composer, first).go_on(JobCache(look), elsewhere)


def _check(plan: SearchPlan, space: Space, first: Point) -> None:
    """Check that the settings of the sweep go together with a search.

    Raises:
        MlrunError: naming the setting.
    """
    if first.settings.sweep.halving:
        raise MlrunError("sweep.halving cannot be combined with a search; use hydra/sweeper=mlrun")
    check_keys([*space.ranges])
    check_objectives(first.settings.sweep.objectives or [], [*own_metrics(first.config.values)])
    if first.settings.sweep.objectives and plan.sampler == "cmaes":
        raise MlrunError(
            "hydra.sweeper.sampler=cmaes supports one objective only; tpe supports several"
        )


def _varies_data(space: Space) -> bool:
    """Whether trials may differ in their data."""
    return any(key.partition(".")[0] in ("data", "task", "experiment") for key in space.ranges)


def resumed(opened: SweepFolder, folder: str) -> "Search":
    """Return the search of a sweep, to be continued to its planned number of trials.

    Args:
        opened: the sweep of the search, which may come from a stranger.
        folder: the data folder, if it came from the environment.

    Raises:
        MlrunError: its record is damaged or refused, or contained a secret.
    """
    source = opened.path / "sweep.json"
    plan, words = read_search(opened.record, source)
    composer = Composer(None, None, thawed_bases(opened.record, source, folder))
    try:
        with explained():
            space = space_again(words)
            [first] = composer.points([corner(space)], 0)
        _check(plan, space, first)
        check_targets(first.config.values)
    except MlrunError as error:
        raise MlrunError(f"{source}: {error}") from error
    return Search(opened, space, plan, composer, first)


# --- the search ---


class Search:
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
        # In memory: a sampler stores pickled state in its study, which must not come from a file.
        self._study = optuna.create_study(
            directions=["maximize" if one else "minimize" for one in higher]
        )

    def go_on(self, cache: JobCache, launcher: Launcher | None = None) -> None:
        """Run up to the planned number of trials; those in the journal are not proposed again."""
        most = self._plan.trials
        if self._plan.sampler == "grid":
            most = min(most, math.prod(len(values_of(r)) for r in self._space.ranges.values()))
        with SweepProgress(most, quiet=self._first.settings.quiet) as progress:
            jobs = jobs_of(self._sweep, self._first, progress, cache)
            for start in range(0, most, self._plan.at_once):
                numbers = range(start, min(start + self._plan.at_once, most))
                self._train_trials(self._trials(numbers), jobs, launcher)

    def _trials(self, numbers: range) -> dict[int, Mapping[str, Any]]:
        """Return the trials of a batch: those in the journal, and new ones."""
        self._study.sampler = sampler_of(self._plan, self._space, numbers[0])
        for values in self._recorded(numbers):
            self._study.enqueue_trial(values)
        trials = [self._ask() for _ in numbers]
        return {trial.number: trial.params for trial in trials}

    def _ask(self) -> "optuna.Trial":
        """Return the next trial, and let the sampler note its state, also if the point is known."""
        trial = self._study.ask(self._space.ranges)
        assert trial.relative_params is not None  # computed when it is asked for
        return trial

    def _recorded(self, numbers: range) -> list[dict[str, Any]]:
        """Return the values of the trials of a batch that are in the journal.

        A batch of which only a part was written down is proposed again, unless it began.
        """
        known = self._entries()
        there = [known[number] for number in numbers if number in known]
        if len(there) < len(numbers) and all(entry.status == QUEUED for entry in there):
            return []
        source = self._sweep.journal.path
        if [entry.job for entry in there] != [*numbers[: len(there)]]:
            raise MlrunError(f"{source} is damaged: a job before {there[-1].job} is missing")
        try:
            return [recorded_values(self._space, entry.overrides) for entry in there]
        except ValueError as error:
            raise MlrunError(f"{source} is damaged: {error} is not in the search space") from None

    def _entries(self) -> Mapping[int, Entry]:
        return self._sweep.journal.read() if self._sweep.journal.path.exists() else {}

    def _train_trials(
        self,
        trials: Mapping[int, Mapping[str, Any]],
        jobs: Jobs | WorkerPool,
        launcher: Launcher | None,
    ) -> None:
        """Train the unfinished trials, and report all results to the study."""
        journal, entries = self._sweep.journal, self._entries()
        ended = [n for n in trials if n in entries and entries[n].status in (DONE, FAILED)]
        points = [self._point(n, trials[n], entries) for n in trials if n not in ended]
        left = {number for number, entry in entries.items() if entry.status != QUEUED}
        queue(journal, [point for point in points if point.number not in left])
        if points and launcher is not None:
            launch_elsewhere(self._sweep, launcher, points)
        elif points:
            jobs.train(points)
        entries = journal.read()
        for number in trials:
            self._report(number, entries[number])

    def _point(self, number: int, values: Mapping[str, Any], entries: Mapping[int, Entry]) -> Point:
        with explained():
            [point] = self._composer.points([chosen_words(self._space, values)], number)
        return replace(point, folder=entries[number].folder) if number in entries else point

    def _report(self, number: int, entry: Entry) -> None:
        reached = entry.objectives or {}
        values = [reached.get(name) for name in self._objectives] or [entry.score]
        if entry.status == DONE and None not in values:
            self._study.tell(number, [value for value in values if value is not None])
        else:
            self._study.tell(number, state=TrialState.FAIL)
