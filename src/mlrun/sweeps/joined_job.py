"""Run a job that one of Hydra's launchers started in this process, possibly among many."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from omegaconf import DictConfig, OmegaConf

from mlrun.config.recorded import for_the_record
from mlrun.config.schema import settings_of
from mlrun.config.values import composed
from mlrun.errors import MlrunError
from mlrun.runs.folder import is_sweep
from mlrun.sweeps.folder import SweepFolder, begin_sweep, joined_sweep, queue, thawed
from mlrun.sweeps.job_folders import check_chosen
from mlrun.sweeps.jobs import Jobs
from mlrun.sweeps.journal import DONE
from mlrun.sweeps.points import Point
from mlrun.sweeps.progress import SweepProgress
from mlrun.system.files import as_line
from mlrun.system.seams import Place, reached


def run_job(config: DictConfig, hydra: DictConfig, command: Sequence[str]) -> float:
    """Run one job of a sweep; return its best score, or NaN if it failed.

    Args:
        config: composed here; a configuration frozen by the sweep takes precedence.
        hydra: Hydra's own configuration of the job.
        command: the command line.

    Raises:
        MlrunError: the job failed, and the sweeper is not mlrun's own.
    """
    reached(Place.LAUNCHED_JOB_BEGINS)
    job = composed(config)
    number, subdir = int(hydra.job.num), str(hydra.sweep.subdir)
    folder = str(number) if subdir == "." else subdir
    check_chosen([folder])
    typed: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    words = tuple(typed)
    point = Point(number, words, folder, job, settings_of(job.values))
    sweep = _joined(Path(hydra.sweep.dir), point, command)
    entry = sweep.journal.read()[number]
    if entry.config != json.loads(
        as_line(for_the_record(job))
    ):  # a file has changed since the start
        point = thawed(entry, sweep.journal.path, point.settings.paths.data)
    with SweepProgress(1, quiet=True) as progress:
        Jobs(sweep, command, progress, fail_fast=False).train([point])
    entry = sweep.journal.read()[number]
    if entry.status == DONE:
        return math.nan if entry.score is None else entry.score
    if hydra.runtime.choices["hydra/sweeper"] == "mlrun":
        return math.nan
    raise MlrunError(entry.error)


def _joined(path: Path, point: Point, command: Sequence[str]) -> SweepFolder:
    """Return the sweep of the job; start it here if its sweeper keeps no journal."""
    with FileLock(path / ".begin.lock"):
        if not is_sweep(path):
            return begin_sweep(
                path, [point], [word.partition("=")[0] for word in point.overrides], command=command
            )
        sweep = joined_sweep(path)
        if point.number not in sweep.journal.read():
            queue(sweep.journal, [point])
        return sweep
