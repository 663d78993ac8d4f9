"""Runs with `seeds` or `folds`: train an ensemble; each member is a run with its own folder.

The folder of a member, members/<name>, equals that of the single run with its seed and fold; the
folder above has the combined results: pred.csv, scores, plots.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean

import torch

from mlrun.config.allowlist import allow_words, allowed_now
from mlrun.config.recorded import for_the_record
from mlrun.config.schema import Settings, settings_of
from mlrun.config.values import Composed
from mlrun.data.dataset import Dataset
from mlrun.errors import Diverged, MlrunError
from mlrun.report.console import Console
from mlrun.runs.announce import announce
from mlrun.runs.data import LoadData, load_run_data
from mlrun.runs.ensemble import MEMBERS_FOLDER, combined_by_row, scores_of
from mlrun.runs.finish import STOP_REASONS
from mlrun.runs.first_record import write_beginning, write_first_record
from mlrun.runs.folder import RunFolder, claim_exactly, locked, open_run
from mlrun.runs.group import PreparedRun, in_groups, train_together
from mlrun.runs.job import Job, prepare, sibling
from mlrun.runs.member_specs import MemberSpec, member_specs
from mlrun.runs.predictions import predictions_csv, warn_of_control_characters
from mlrun.runs.record import outcome_written
from mlrun.runs.stopped import Stopped, changed, configuration, read_stopped, rebuild, tidy_up
from mlrun.system.files import write_atomically
from mlrun.training.loop import EpochRow, finished
from mlrun.training.metrics import shown, shown_spread
from mlrun.training.types import Progress

log = logging.getLogger(__name__)


def train_members(
    config: Composed,
    settings: Settings,
    make_folder: Callable[[], Path],
    *,
    command: Sequence[str],
    overrides: Sequence[str],
    watch: Callable[[float], None] = lambda _: None,
    load: LoadData | None = None,
) -> float:
    """Train every member and write a run folder; return the mean of their best scores.

    `watch` is called with the share of the epochs that are done; `load` reads the data of a member.

    Raises:
        MlrunError: a user error (no folder was created), or a write error.
        Diverged: all members diverged.
        Interrupted: Ctrl-C or SIGTERM.
    """
    with Console(quiet=settings.quiet) as console:
        jobs = _prepare(config, settings, load)
        first = next(iter(jobs.values()))
        run = RunFolder(make_folder())
        with locked(run), outcome_written(run) as outcome:
            console.log_to(run.log)
            announce(console, first)
            write_beginning(run, first, config=config, command=command, overrides=overrides)
            runs = []
            for name, job in jobs.items():
                member = RunFolder(claim_exactly(run.path / MEMBERS_FOLDER, name))
                _begin(run, member, job, command)
                runs.append(PreparedRun(member, job, Progress(), None))
            outcome.status = train_side_by_side(run, runs, console, watch)
        return fmean([one.progress.best_score for one in runs])


def _prepare(config: Composed, settings: Settings, load: LoadData | None) -> dict[str, Job]:
    """Build every member; members that differ only in the seed share everything else."""
    jobs: dict[str, Job] = {}
    first: dict[str, Job] = {}
    for member_spec in member_specs(config, settings):
        key, values = member_spec.config.key_without_seed, member_spec.config.values
        if key in first:
            jobs[member_spec.name] = sibling(first[key], member_spec.config, member_spec.seed)
        else:
            dataset = load(values) if load is not None else None
            job = prepare(member_spec.config, settings_of(values), dataset)
            jobs[member_spec.name] = first[key] = job
    return jobs


def train_side_by_side(
    run: RunFolder,
    runs: Sequence[PreparedRun],
    console: Console,
    watch: Callable[[float], None] = lambda _: None,
) -> str:
    """Train the members, then score and predict as an ensemble; return the status of the run."""
    begun = time.perf_counter()
    log.info("%d members: %s", len(runs), ", ".join(one.run.path.name for one in runs))
    for group in in_groups(runs):
        trainer = group[0].job.settings.trainer
        console.begin_progress(trainer.epochs, trainer.monitor)

        def show(results: Sequence[tuple[PreparedRun, EpochRow]]) -> None:
            _show(console, results)
            epochs = sum(one.job.settings.trainer.epochs for one in runs)
            watch(sum(one.progress.epoch for one in runs) / epochs)

        train_together(group, show=show, ended=_whole_or_diverged)
        console.end_progress()
    whole = [one for one in runs if one.run.record["status"] != "diverged"]
    if not whole:
        raise Diverged(f"all members diverged: {runs[0].run.record['error']}")
    run.note(best_score=fmean([one.progress.best_score for one in whole]))
    lines = _conclude(run, whole)
    done = all(finished(one.progress, one.job.settings.trainer) for one in whole)
    title = f"{'done' if done else 'time limit reached'} in {time.perf_counter() - begun:.1f} s"
    console.result(lines, title=title, folder=run.path)
    return "done" if done else "interrupted"


def _show(console: Console, results: Sequence[tuple[PreparedRun, EpochRow]]) -> None:
    """Show one line: the means over the members still in training."""
    if results:
        rows = [row for _, row in results]
        names = [name for name in rows[0] if all(name in row for row in rows)]
        row = {name: fmean([row[name] for row in rows]) for name in names}
        best = fmean([one.progress.best_score for one, _ in results])
        console.epoch(row | {"epoch": rows[0]["epoch"]}, 0, best)


def _whole_or_diverged(_: PreparedRun, error: Exception | None) -> None:
    if error is not None and not isinstance(error, Diverged):
        raise error


def _begin(run: RunFolder, member: RunFolder, job: Job, command: Sequence[str]) -> None:
    """Write the first record of a member, with the provenance of the run above."""
    provenance = {key: run.record[key] for key in ("data", "versions", "git")}
    write_first_record(member, job, config=job.plain_config, command=command, provenance=provenance)


def resume_members(
    run: RunFolder,
    overrides: Sequence[str],
    *,
    data: str | None,
    watch: Callable[[float], None] = lambda _: None,
) -> None:
    """Continue the unfinished members; the arguments are those of `resume`.

    Raises:
        MlrunError: like `resume`.
    """
    with locked(run):
        config = changed(configuration(run, None), overrides)
        settings = settings_of(config.values)
        with Console(quiet=settings.quiet) as console:
            found = [*_stopped(run, member_specs(config, settings), overrides, data)]
            runs = [one for one, _ in found]
            if not runs:
                raise MlrunError(f"{run.path}: all members diverged, so there is nothing to resume")
            done = all(finished(one.progress, one.job.settings.trainer) for one in runs)
            if done and run.record.get("status") == "done":
                console.out.print(f"nothing left to do: all {len(runs)} members are done")
                return
            console.log_to(run.log)
            with outcome_written(run) as outcome:
                run.update(status="running", config=for_the_record(config))
                for prepared, stopped in found:
                    _begin_again(run, prepared, stopped)
                outcome.status = train_side_by_side(run, runs, console, watch)


def _stopped(
    run: RunFolder, wanted: Iterable[MemberSpec], overrides: Sequence[str], data: str | None
) -> Iterator[tuple[PreparedRun, Stopped | None]]:
    """Yield the members from where they stopped, or from the beginning."""
    read: dict[str, Dataset] = {}
    for member_spec in wanted:
        path = run.path / MEMBERS_FOLDER / member_spec.name
        if not (path / "run.json").is_file():
            values = member_spec.config.values
            dataset = load_run_data(run, values, None, data=data, split_anew=True)
            job = prepare(member_spec.config, settings_of(values), dataset)
            yield PreparedRun(RunFolder(path), job, Progress(), None), None
            continue
        stopped = read_stopped(open_run(path), overrides)
        if stopped.run.record.get("status") != "diverged":
            job = rebuild(stopped, data, read)
            yield PreparedRun(stopped.run, job, stopped.progress, stopped.state), stopped


def _begin_again(run: RunFolder, prepared: PreparedRun, stopped: Stopped | None) -> None:
    if stopped is None:
        prepared.run.path.mkdir(parents=True, exist_ok=True)
        _begin(run, prepared.run, prepared.job, [run.entry("command", str)])
        return
    tidy_up(stopped)
    config = for_the_record(stopped.config)
    prepared.run.update(status="running", resumed_after=prepared.progress.epoch, config=config)


def _conclude(run: RunFolder, runs: Sequence[PreparedRun]) -> list[tuple[str, str]]:
    """Write scores, pred.csv and plots of the ensemble; return the lines of the summary."""
    from mlrun.report.plots import draw_curves  # jobs of sweeps draw no plots

    members = [one.job.predictor for one in runs]
    datasets = [one.job.dataset for one in runs]
    spec = members[0].spec
    each = {name: _mean_and_deviation(runs, name) for name in runs[0].run.record["metrics"]}
    together = scores_of(members, datasets)
    run.note(metrics=together, members=each)
    rows = [dataset.predict for dataset in datasets]
    outputs = [member.outputs(part) for member, part in zip(members, rows, strict=True)]
    ids, combined = combined_by_row(members, rows, outputs)
    warn_of_control_characters(spec, ids)
    write_atomically(run.predictions, predictions_csv(spec, ids, combined.predictions))
    histories = {one.run.path.name: one.history for one in runs}
    monitor, title = runs[0].job.settings.trainer.monitor, run.path.name
    draw_curves(run.plots, histories, title=title, monitor=monitor, spec=spec)
    own = allow_words(allowed_now())
    reasons = Counter(STOP_REASONS[one.run.entry("stopped", str)] for one in runs)
    lines = [("stopped", ", ".join(f"{count} × {reason}" for reason, count in reasons.items()))]
    lines += [("members", f"{len(runs)}, mean ± standard deviation of their scores:")]
    lines += [
        (name, "  ".join(f"{k} {shown_spread(*spread)}" for k, spread in values.items()))
        for name, values in each.items()
    ]
    lines.append(("ensemble", ""))
    lines += [(name, shown(values)) for name, values in together.items()]
    new = [] if len(combined.each) else ["--input FILE"]  # folds have no common rows of their own
    return [
        *lines,
        ("predictions", f"{run.predictions} ({len(ids)} rows)"),
        ("run folder", str(run.path)),
        ("each member", " ".join(["mlrun predict", str(run.path), "--members", *new, *own])),
        ("new rows", " ".join(["mlrun predict", str(run.path), "--input FILE", *own])),
    ]


def _mean_and_deviation(runs: Sequence[PreparedRun], part: str) -> dict[str, tuple[float, float]]:
    """Return metric → mean and standard deviation of the members' own scores on a part."""
    found = [one.run.record["metrics"][part] for one in runs]
    values = {name: torch.tensor([one[name] for one in found]).double() for name in found[0]}
    return {
        name: (float(v.mean()), float(v.std(correction=min(1, len(v) - 1))))
        for name, v in values.items()
    }
