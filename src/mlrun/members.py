"""Runs with `seeds` or `folds`: several members trained side by side, each a run of its own.

A member's folder, members/<name>, is that of the lone run of its seed and fold; the folder above
has what they say together: pred.csv, scores, plots.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from mlrun.allowlist import allow_words, allowed_now
from mlrun.checkpoint import State
from mlrun.committee import FOLDER, combined, scores_of
from mlrun.config import Settings, settings_of
from mlrun.data.spec import Dataset
from mlrun.engine import Engine, Member, Progress
from mlrun.errors import Diverged, MlrunError
from mlrun.interrupt import interruptible
from mlrun.loop import Row, finished, fit
from mlrun.memory import memory_told
from mlrun.metrics import shown
from mlrun.predictions import write_predictions
from mlrun.record import Record, recorded
from mlrun.report.console import Console
from mlrun.report.plots import draw_curves
from mlrun.resume import Stopped, changed, configuration, read_stopped, rebuild, tidy_up
from mlrun.run_data import load_run_data
from mlrun.run_folder import RunFolder, claim_exactly, locked, open_run, remove_leftovers
from mlrun.saved_config import for_the_record
from mlrun.stack import Stacked, why_not
from mlrun.train import (
    Job,
    announce,
    begin_training,
    prepare,
    score,
    sibling,
    write_beginning,
    write_first_record,
)

log = logging.getLogger(__name__)

MOST_NATIVE = 16  # members at a time; more, and a processor's cache no longer holds what they need

# data.split.method → the same with folds
FOLDED = {
    "auto": "auto_kfold",
    "holdout": "kfold",
    "random_split": "kfold",
    "stratified": "stratified_kfold",
    "group": "group_kfold",
    **{name: name for name in ("kfold", "stratified_kfold", "auto_kfold", "group_kfold")},
}


@dataclass(frozen=True)
class Task:
    """A member to train, and where it is written down."""

    run: RunFolder
    job: Job
    progress: Progress
    resumed: State | None


@dataclass(frozen=True)
class Seat:
    """What makes a member: its name, its seed, and the configuration of the run of its fold."""

    name: str
    seed: int
    config: DictConfig


def seats(config: DictConfig, settings: Settings) -> Iterator[Seat]:
    """Every member: seeds within folds.

    Raises:
        MlrunError: the split cannot be made into folds.
    """
    for fold in range(settings.folds) if settings.folds else [None]:
        own = _changed(config, _folded(config, settings.folds, fold))
        refers = "${seed}" in OmegaConf.to_yaml(own)  # then it is another one for each seed
        for offset in range(settings.seeds or 1):
            seed = settings.seed + offset
            names = [f"fold_{fold}"] * (fold is not None) + [f"seed_{seed}"] * bool(settings.seeds)
            yield Seat("_".join(names), seed, _changed(own, {"seed": seed}) if refers else own)


def _folded(config: DictConfig, folds: int | None, fold: int | None) -> dict[str, Any]:
    alone: dict[str, Any] = {"seeds": None, "folds": None}
    if fold is None:
        return alone
    method, place = str(config.data.split.method), "data.split"
    if method not in FOLDED:
        raise MlrunError(f"folds={folds}: data.split.method={method} has no folds")
    split = {f"{place}.method": FOLDED[method], f"{place}.folds": folds, f"{place}.fold": fold}
    return alone | split


def _changed(config: DictConfig, changes: dict[str, Any]) -> DictConfig:
    copy = DictConfig(OmegaConf.to_container(config))
    for key, value in changes.items():
        OmegaConf.update(copy, key, value)
    return copy


def train_members(
    config: DictConfig,
    settings: Settings,
    make_folder: Callable[[], Path],
    *,
    command: Sequence[str],
    overrides: Sequence[str],
) -> float:
    """Train every member and leave a run folder; the mean of their best scores.

    Raises:
        MlrunError: a user's mistake (no folder was made), or a disk that refuses to be written.
        Diverged: all members did.
        Interrupted: Ctrl-C or SIGTERM.
    """
    with Console(quiet=settings.quiet) as console:
        jobs = _prepare(config, settings)
        first = next(iter(jobs.values()))
        run = RunFolder(make_folder())
        with locked(run), recorded(run) as outcome:
            console.log_to(run.log)
            announce(console, first)
            write_beginning(run, first, config=config, command=command, overrides=overrides)
            tasks = []
            for name, job in jobs.items():
                member = RunFolder(claim_exactly(run.path / FOLDER, name))
                _begin(run, member, job, command)
                tasks.append(Task(member, job, Progress(), None))
            outcome.status = carry_out_together(run, tasks, console)
        return fmean([task.progress.best_score for task in tasks])


def _prepare(config: DictConfig, settings: Settings) -> dict[str, Job]:
    """Build every member; those with the same configuration share data and all else."""
    jobs: dict[str, Job] = {}
    first: list[tuple[DictConfig, Job]] = []
    for seat in seats(config, settings):
        before = [job for own, job in first if own is seat.config]
        if before:
            jobs[seat.name] = sibling(before[0], seat.config, seat.seed)
        else:
            jobs[seat.name] = prepare(seat.config, settings_of(seat.config))
            first.append((seat.config, jobs[seat.name]))
    return jobs


def carry_out_together(run: RunFolder, tasks: Sequence[Task], console: Console) -> str:
    """Train from where each member stands, then score and predict together; the run's status."""
    begun = time.perf_counter()
    log.info("%d members: %s", len(tasks), ", ".join(task.run.path.name for task in tasks))
    histories: dict[str, list[Row]] = {}
    for group in _groups(tasks):
        histories |= _learn(group, console)
        console.end_progress()
    whole = [task for task in tasks if task.run.record["status"] != "diverged"]
    if not whole:
        raise Diverged(f"all members did: {tasks[0].run.record['error']}")
    lines = _conclude(run, whole, histories)
    done = all(finished(task.progress, task.job.settings.trainer) for task in whole)
    title = f"{'done' if done else 'out of time'} in {time.perf_counter() - begun:.1f} s"
    console.result(lines, title=title, folder=run.path)
    return "done" if done else "interrupted"


def _begin(run: RunFolder, member: RunFolder, job: Job, command: Sequence[str]) -> None:
    """A member's first record; it is made of what the run above is made of."""
    made_of = {key: run.record[key] for key in ("data", "versions", "git")}
    write_first_record(member, job, job.recorded, command=command, made_of=made_of)


def resume_members(run: RunFolder, overrides: Sequence[str], *, data: str | None) -> None:
    """Go on with the members that are not done; arguments as in `resume`.

    Raises:
        MlrunError: as `resume`.
    """
    with locked(run):
        config = changed(configuration(run, None), overrides)
        settings = settings_of(config)
        with Console(quiet=settings.quiet) as console:
            found = [*_stopped(run, seats(config, settings), overrides, data)]
            tasks = [task for task, _ in found]
            if not tasks:
                raise MlrunError(
                    f"{run.path}: all members diverged; there is nothing to go on with"
                )
            done = all(finished(task.progress, task.job.settings.trainer) for task in tasks)
            if done and run.record.get("status") == "done":
                console.out.print(f"nothing left to do: all {len(tasks)} members are done")
                return
            console.log_to(run.log)
            with recorded(run) as outcome:
                remove_leftovers(run)
                run.update(status="running", config=for_the_record(config))
                for task, stopped in found:
                    _begin_again(run, task, stopped)
                outcome.status = carry_out_together(run, tasks, console)


def _stopped(
    run: RunFolder, wanted: Iterable[Seat], overrides: Sequence[str], data: str | None
) -> Iterator[tuple[Task, Stopped | None]]:
    """The members as they stopped; those that had not begun, from their beginning."""
    read: dict[str, Dataset] = {}
    for seat in wanted:
        path = run.path / FOLDER / seat.name
        if not (path / "run.json").is_file():
            config = _changed(seat.config, {"seed": seat.seed})
            dataset = load_run_data(run, config, None, data=data, split_anew=True)
            job = prepare(config, settings_of(config), dataset)
            yield Task(RunFolder(path), job, Progress(), None), None
            continue
        stopped = read_stopped(open_run(path), overrides)
        if stopped.run.record.get("status") != "diverged":
            job = rebuild(stopped, data, read)
            yield Task(stopped.run, job, stopped.progress, stopped.state), stopped


def _begin_again(run: RunFolder, task: Task, stopped: Stopped | None) -> None:
    if stopped is None:
        task.run.path.mkdir(parents=True, exist_ok=True)
        _begin(run, task.run, task.job, [run.entry("command", str)])
        return
    tidy_up(stopped)
    config = for_the_record(stopped.config)
    task.run.update(status="running", resumed_after=task.progress.epoch, config=config)


def _groups(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """As many at a time as fit into `trainer.member_memory`, and into a processor's cache."""
    limit = tasks[0].job.settings.trainer.member_memory * 1e9
    most = MOST_NATIVE if tasks[0].job.engine.name == "native" else len(tasks)
    group: list[Task] = []
    for task in tasks:
        if group and (len(group) == most or _memory([*group, task]) > limit):
            yield group
            group = []
        group.append(task)
    yield group


def _memory(tasks: Sequence[Task]) -> float:
    """Bytes that members in training take: each one's weights ten times over, data once a split.

    Ten times: weights, gradients, two moments, the packed copies of all four, the last and the
    best checkpoint.
    """
    datasets = [task.job.dataset for task in _one_of_each_split(tasks)]
    rows = sum((len(d.train) + len(d.valid)) * np.prod(d.spec.in_shape) for d in datasets)
    models = (task.job.learner.model for task in tasks)
    weights = sum(p.numel() for model in models for p in model.parameters())
    return float(4 * rows + 10 * 4 * weights)


def _engine(members: Sequence[Member], engine: Engine) -> Engine:
    """For several members what the engine is for one."""
    if engine.name == "native" or len(members) == 1:
        return engine
    if reason := why_not(members):
        log.info("the members are trained one after another, not stacked: %s", reason)
        return engine
    return Stacked()


def _learn(tasks: Sequence[Task], console: Console) -> dict[str, list[Row]]:
    """Train a group; each member ends with its best epoch's weights, scored and written down."""
    first, trainer = tasks[0].job, tasks[0].job.settings.trainer
    features = {id(task.job.dataset): task.job.features() for task in _one_of_each_split(tasks)}
    members = {}
    for task in tasks:
        member = task.job.member(features[id(task.job.dataset)], task.progress)
        members[id(member)] = (task, member)
    begin_training()
    console.begin_progress(trainer.epochs, trainer.monitor)
    with (
        memory_told(first.learner, next(iter(members.values()))[1].train, trainer),
        interruptible() as stop_if_asked,
        ExitStack() as stack,
    ):
        for task in tasks:
            stack.enter_context(locked(task.run))
        outcomes = {key: stack.enter_context(recorded(t.run)) for key, (t, _) in members.items()}
        records = {
            key: stack.enter_context(
                Record(t.run, t.job.recorded, t.job.dataset, t.job.settings, resumed=t.resumed)
            )
            for key, (t, _) in members.items()
        }
        together = [member for _, member in members.values()]
        for results in fit(
            together, _engine(together, first.engine), first.trained.outputs_of, stop=stop_if_asked
        ):
            for member, row in results:
                task, _ = members[id(member)]
                if isinstance(row, Diverged):
                    outcomes[id(member)].status = "diverged"
                    task.run.note(error=str(row))
                    log.warning("%s diverged: %s", task.run.path.name, row)
                else:
                    records[id(member)].epoch(task.job.learner, task.progress, row)
            _show(console, [(m, row) for m, row in results if isinstance(row, dict)])
        for key, (task, _) in members.items():
            if outcomes[key].status != "diverged":
                records[key].finish(task.job.learner, task.progress)
                score(task.run, task.job)
                if not finished(task.progress, task.job.settings.trainer):
                    outcomes[key].status = "interrupted"
    return {t.run.path.name: records[key].history for key, (t, _) in members.items()}


def _one_of_each_split(tasks: Sequence[Task]) -> list[Task]:
    return list({id(task.job.dataset): task for task in tasks}.values())


def _show(console: Console, results: Sequence[tuple[Any, Row]]) -> None:
    """One line for all: the means over the members still in training."""
    if results:
        rows = [row for _, row in results]
        names = [name for name in rows[0] if all(name in row for row in rows)]
        row = {name: fmean([row[name] for row in rows]) for name in names}
        best = fmean([member.progress.best_score for member, _ in results])
        console.epoch(row | {"epoch": rows[0]["epoch"]}, 0, best)


def _conclude(
    run: RunFolder, tasks: Sequence[Task], histories: dict[str, list[Row]]
) -> list[tuple[str, str]]:
    """Scores, pred.csv and plots of the members together; what the user reads of them."""
    members = [task.job.trained for task in tasks]
    datasets = [task.job.dataset for task in tasks]
    spec = members[0].spec
    each = {name: _mean_and_deviation(tasks, name) for name in tasks[0].run.record["metrics"]}
    together = scores_of(members, datasets)
    run.note(metrics=together, members=each)
    rows = [dataset.predict for dataset in datasets]
    said = [member.outputs(part) for member, part in zip(members, rows, strict=True)]
    write_predictions(run.predictions, spec, rows[0].ids, combined(members, said).predictions)
    draw_curves(run.plots, histories, title=f"{run.path.name}: validation loss")
    own = allow_words(allowed_now())
    lines = [("members", f"{len(tasks)}, mean ± standard deviation of their scores:")]
    lines += [
        (name, "  ".join(f"{k} {m:.4f} ± {d:.4f}" for k, (m, d) in values.items()))
        for name, values in each.items()
    ]
    lines.append(("together", ""))
    lines += [(name, shown(values)) for name, values in together.items()]
    return [
        *lines,
        ("predictions", f"{run.predictions} ({len(rows[0])} rows)"),
        ("run folder", str(run.path)),
        ("each member", " ".join(["mlrun predict", str(run.path), "--members", *own])),
        ("new rows", " ".join(["mlrun predict", str(run.path), "--input FILE", *own])),
    ]


def _mean_and_deviation(tasks: Sequence[Task], part: str) -> dict[str, tuple[float, float]]:
    """Metric → mean and standard deviation of the members' own scores on a part of the data."""
    found = [task.run.record["metrics"][part] for task in tasks]
    values = {name: torch.tensor([one[name] for one in found]).double() for name in found[0]}
    return {
        name: (float(v.mean()), float(v.std(correction=min(1, len(v) - 1))))
        for name, v in values.items()
    }
