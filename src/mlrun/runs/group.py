"""Train several runs together: members of an ensemble, or jobs of a sweep."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from mlrun.errors import Diverged
from mlrun.runs.checkpoint import State
from mlrun.runs.finish import score
from mlrun.runs.folder import RunFolder, locked
from mlrun.runs.job import Job
from mlrun.runs.record import Record, RunOutcome, outcome_written
from mlrun.system.garbage import resume_collection
from mlrun.system.signals import interruptible
from mlrun.training.engines.base import Engine
from mlrun.training.engines.stacked import Stacked, why_not
from mlrun.training.loop import EpochRow, finished, fit
from mlrun.training.memory import out_of_memory_explained
from mlrun.training.types import Member, Progress

log = logging.getLogger(__name__)

MOST_NATIVE = 16  # members at a time; more do not fit into the processor's cache


@dataclass(frozen=True, eq=False)
class PreparedRun:
    """A run to train: its folder, job and progress."""

    run: RunFolder
    job: Job
    progress: Progress
    resumed: State | None
    history: list[EpochRow] = field(default_factory=list)  # set when its training ends


def in_groups(
    runs: Iterable[PreparedRun],
    *,
    alike: Callable[[PreparedRun, PreparedRun], bool] = lambda *_: True,
) -> Iterator[list[PreparedRun]]:
    """Yield groups of runs that fit into `trainer.member_memory` and into the processor's cache.

    Args:
        runs: consumed lazily.
        alike: whether two runs may be trained together.
    """
    group: list[PreparedRun] = []
    for prepared in runs:
        if group and not (alike(group[0], prepared) and _fits(group, prepared)):
            yield group
            group = []
        group.append(prepared)
    if group:
        yield group


def _fits(group: Sequence[PreparedRun], prepared: PreparedRun) -> bool:
    most = MOST_NATIVE if prepared.job.engine.trains_together else len(group) + 1
    limit = prepared.job.settings.trainer.member_memory * 1e9
    return len(group) < most and _memory([*group, prepared]) <= limit


def _memory(runs: Sequence[PreparedRun]) -> float:
    """Return the bytes that members in training need: ten copies of the weights, data per split.

    The ten copies: weights, gradients, two moments, packed copies of these four, and the last and
    best checkpoint.
    """
    datasets = [one.job.dataset for one in _one_of_each_split(runs)]
    rows = sum((len(d.train) + len(d.valid)) * np.prod(d.spec.in_shape) for d in datasets)
    models = (one.job.learner.model for one in runs)
    weights = sum(p.numel() for model in models for p in model.parameters())
    return float(4 * rows + 10 * 4 * weights)


def _one_of_each_split(runs: Sequence[PreparedRun]) -> list[PreparedRun]:
    return list({one.job.dataset: one for one in runs}.values())


def train_together(
    runs: Sequence[PreparedRun],
    *,
    show: Callable[[Sequence[tuple[PreparedRun, EpochRow]]], None],
    ended: Callable[[PreparedRun, Exception | None], None],
    until: int | None = None,
    in_step: bool = True,
) -> None:
    """Train a group; score the best weights of each run and write its files.

    Args:
        runs: the runs of one group.
        show: called after each epoch with the runs still in training.
        ended: called for each run that ends, with its error or None; may raise.
        until: pause after this epoch.
        in_step: whether runs that the engine cannot train together advance epoch by epoch;
            otherwise each is trained to its end before the next one begins.

    Raises:
        Interrupted: Ctrl-C or SIGTERM.
    """
    first, trainer = runs[0].job, runs[0].job.settings.trainer
    features = {one.job.dataset: one.job.features() for one in _one_of_each_split(runs)}
    members = [one.job.member(features[one.job.dataset], one.progress, until) for one in runs]
    engine, outputs = engine_for(members, first.engine), first.predictor.outputs_of
    if not (in_step or engine.trains_together) and len(runs) > 1:
        for prepared in runs:
            train_together([prepared], show=show, ended=ended, until=until)
        return
    resume_collection()
    with (
        out_of_memory_explained(first.learner, members[0].train, trainer),
        interruptible() as stop_if_requested,
        ExitStack() as stack,
    ):
        by_member = dict(zip(members, runs, strict=True))
        under_way = {member: _OpenRun(one, stack, until) for member, one in by_member.items()}
        for results in fit(members, engine, outputs, stop=stop_if_requested):
            _record(results, under_way, ended)
            show([(by_member[m], row) for m, row in results if isinstance(row, dict)])
        for one in under_way.values():  # time limit, or paused
            ended(one.prepared, one.end())


def _record(
    results: Iterable[tuple[Member, EpochRow | Diverged]],
    under_way: dict[Member, "_OpenRun"],
    ended: Callable[[PreparedRun, Exception | None], None],
) -> None:
    """Record an epoch of each member; close the runs whose training ends with it."""
    for member, row in results:
        one = under_way[member]
        one.epoch(row)
        if isinstance(row, Diverged) or finished(member.progress, member.trainer):
            ended(one.prepared, under_way.pop(member).end())


class _OpenRun:
    """A run in training with its open files."""

    def __init__(self, prepared: PreparedRun, outer: ExitStack, until: int | None) -> None:
        self.prepared, self._until, self._diverged = prepared, until, ""
        self._open = outer.enter_context(ExitStack())
        run, job = prepared.run, prepared.job
        self._open.enter_context(locked(run))
        self._outcome: RunOutcome = self._open.enter_context(outcome_written(run))
        self._record = self._open.enter_context(
            Record(run, job, prepared.progress, resumed=prepared.resumed)
        )

    def epoch(self, row: EpochRow | Diverged) -> None:
        """Record an epoch."""
        if isinstance(row, Diverged):
            self._outcome.status, self._diverged = "diverged", str(row)
            self.prepared.run.note(error=str(row))
            log.warning("%s diverged: %s", self.prepared.run.path.name, row)
        else:
            self._record.epoch(row)

    def end(self) -> Exception | None:
        """Score the best weights and close the files; return the error, if any."""
        prepared = self.prepared
        try:
            with self._open:
                if not self._diverged:
                    self._record.finish(self._until)
                    score(prepared.run, prepared.job)
                    if not finished(prepared.progress, prepared.job.settings.trainer):
                        self._outcome.status = "interrupted"
                prepared.history.extend(self._record.history)
        except Exception as error:
            return error
        return Diverged(self._diverged) if self._diverged else None


def engine_for(members: Sequence[Member], engine: Engine) -> Engine:
    """Return the engine for several members, given the engine for one."""
    if engine.trains_together or len(members) == 1:
        return engine
    if reason := why_not(members):
        log.info("training the members one after another, not stacked: %s", reason)
        return engine
    return Stacked()
