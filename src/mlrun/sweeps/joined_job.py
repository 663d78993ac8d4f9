"""A job that a launcher of Hydra's has brought to this process, perhaps among many at once."""

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
from mlrun.sweeps.folder import SweepFolder, begin_sweep, open_sweep, queue, thawed
from mlrun.sweeps.jobs import Jobs
from mlrun.sweeps.journal import DONE
from mlrun.sweeps.points import Point
from mlrun.sweeps.progress import SweepProgress
from mlrun.system.files import as_line


def run_job(config: DictConfig, hydra: DictConfig, command: Sequence[str]) -> float:
    """Carry out one job of a sweep; its best score, NaN if it failed.

    Args:
        config: composed here; what was frozen when the sweep began counts, if it was.
        hydra: Hydra's own configuration of the job.
        command: the command line.

    Raises:
        MlrunError: it failed, and the sweeper is not ours, so that it must learn of it.
    """
    job = composed(config)
    number, subdir = int(hydra.job.num), str(hydra.sweep.subdir)
    folder = str(number) if subdir == "." else subdir
    typed: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)
    words = tuple(typed)
    point = Point(number, words, folder, job, settings_of(job.values))
    sweep = _joined(Path(hydra.sweep.dir), point, command)
    entry = sweep.journal.read()[number]
    if entry.config != json.loads(as_line(for_the_record(job))):  # a file has changed since
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
    """The sweep that the job belongs to; begun here if its sweeper knows nothing of journals."""
    with FileLock(path / ".begin.lock"):
        if not is_sweep(path):
            return begin_sweep(
                path, [point], [word.partition("=")[0] for word in point.overrides], command=command
            )
        sweep = open_sweep(path)
        if point.number not in sweep.journal.read():
            queue(sweep.journal, [point])
        return sweep
