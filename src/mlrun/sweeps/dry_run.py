"""`mlrun -m … --dry-run`: print the plan of a sweep without writing anything."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mlrun.errors import MlrunError
from mlrun.report.console import duration
from mlrun.report.log_file import log_taken_over
from mlrun.report.safe_console import plain_console
from mlrun.runs.folder import RunFolder
from mlrun.runs.group import PreparedRun, engine_for, in_groups
from mlrun.sweeps.grid import swept
from mlrun.sweeps.grouping import alike
from mlrun.sweeps.job_cache import JobCache
from mlrun.sweeps.points import Point
from mlrun.system.plain_text import one_line
from mlrun.system.safe_text import reason
from mlrun.training.loop import fit
from mlrun.training.types import Progress

EPOCHS = 3  # epochs to train for each kind of job, to estimate the time


def print_plan(points: Sequence[Point]) -> None:
    """Print the number of jobs, their differences, their groups and an estimate of the time.

    Raises:
        MlrunError: jobs would fail.
    """
    out = plain_console()
    out.print(f"jobs: {len(points)}")
    for key in swept(points):
        words = dict.fromkeys(word for point in points for word in point.recorded)
        values = [word.partition("=")[2] for word in words if word.partition("=")[0] == key]
        repeated = " (repetitions)" if key == "seed" else ""
        out.print(f"  {key}: {one_line(', '.join(values))}{repeated}")
    failures: dict[str, list[int]] = {}
    groups, seconds, sample = 0, 0.0, False
    rates: dict[str, float] = {}
    reasons: dict[str, None] = {}
    with log_taken_over(logging.NullHandler()):
        for group in in_groups(_prepared(points, failures), alike=alike):
            groups += 1
            sample = sample or group[0].job.dataset.sample
            reasons |= dict.fromkeys(one.job.not_native for one in group if one.job.not_native)
            kind = f"{group[0].job.engine.name} {group[0].job.plain_config['model']['_target_']}"
            if kind not in rates:
                rates[kind] = _seconds(group) / (EPOCHS * sum(map(_work, group)))
            epochs = max(one.job.settings.trainer.epochs for one in group)
            seconds += rates[kind] * epochs * sum(map(_work, group))
    out.print(f"groups, trained one after another: {groups}")
    out.print(f"about {duration(seconds)} here, if no job stops early")
    for why in reasons:
        out.print(f"the native engine is not used: {one_line(why)}")
    if sample:
        out.print("on SAMPLE DATA: found no data files")
    for why, jobs in failures.items():
        named = ", ".join(map(str, jobs[:8])) + (" …" if len(jobs) > 8 else "")
        out.print(f"{len(jobs)} would fail: {one_line(why)} (jobs {named})")
    out.print("nothing was written")
    if failures:
        failing = sum(map(len, failures.values()))
        raise MlrunError(f"{failing} of the {len(points)} jobs would fail")


def _prepared(points: Sequence[Point], failures: dict[str, list[int]]) -> Iterator[PreparedRun]:
    cache = JobCache()
    for point in points:
        try:
            job = cache.job(point)
        except Exception as error:
            failures.setdefault(reason(error), []).append(point.number)
        else:
            yield PreparedRun(RunFolder(Path(point.folder)), job, Progress(), None)


def _work(prepared: PreparedRun) -> float:
    """Return a number proportional to the time of an epoch, for jobs of one kind."""
    weights = sum(p.numel() for p in prepared.job.learner.model.parameters())
    return float(len(prepared.job.dataset.train) * weights)


def _seconds(group: Sequence[PreparedRun]) -> float:
    """Measure some epochs of a group, after a warm-up."""
    features = {one.job.dataset: one.job.features() for one in group}
    members = [one.job.member(features[one.job.dataset], Progress()) for one in group]
    members = [replace(m, trainer=replace(m.trainer, epochs=2 * EPOCHS)) for m in members]
    engine, outputs = engine_for(members, group[0].job.engine), group[0].job.predictor.outputs_of
    ends = [time.perf_counter() for _ in fit(members, engine, outputs)]
    return ends[-1] - ends[min(EPOCHS, len(ends)) - 1] if len(ends) > EPOCHS else ends[-1] - ends[0]
