"""Prepare the jobs of a sweep, new and stopped; read and fit shared data only once."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mlrun.config.recorded import for_the_record
from mlrun.data.dataset import Dataset
from mlrun.runs.folder import RunFolder
from mlrun.runs.group import PreparedRun
from mlrun.runs.job import Job, prepare, sibling
from mlrun.runs.stopped import read_stopped, rebuild, tidy_up
from mlrun.sweeps.first_look import FirstLook, data_key
from mlrun.sweeps.job_data import JobData
from mlrun.sweeps.points import Point
from mlrun.system.provenance import provenance_of
from mlrun.system.seams import Place, reached

T = TypeVar("T")
KEPT = 16  # number of datasets, and of jobs that may get siblings with other seeds


class JobCache:
    """Builds jobs from points, and from the folders of stopped jobs.

    Args:
        look: a dataset that was read before the sweep started.
        data: finds the data of a resumed sweep; None: the configurations name the files.
    """

    def __init__(self, look: FirstLook | None = None, data: JobData | None = None) -> None:
        self._look, self.data = look, data
        self._read: dict[str, Dataset] = {}  # datasets of stopped jobs
        self._datasets: OrderedDict[str, Dataset] = OrderedDict()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._provenance: OrderedDict[Dataset, Mapping[str, Any]] = OrderedDict()

    def job(self, point: Point) -> Job:
        """Return the job of a point.

        Raises:
            MlrunError: its data or model has an error.
        """
        reached(Place.JOB_BEGINS)
        key = point.config.key_without_seed
        known = key in self._jobs
        first = _kept(self._jobs, key, lambda: self._prepare(point))
        return sibling(first, point.config, point.settings.seed) if known else first

    def stopped(self, run: RunFolder) -> PreparedRun:
        """Return the run with which a stopped job continues.

        Raises:
            MlrunError: its checkpoint or data is damaged, missing or has changed.
        """
        stopped = read_stopped(run, ())
        job = rebuild(stopped, self.folder, self._read)
        tidy_up(stopped)
        asked = for_the_record(stopped.config)
        run.update(status="running", resumed_after=stopped.progress.epoch, config=asked)
        return PreparedRun(run, job, stopped.progress, stopped.state)

    @property
    def folder(self) -> str | None:
        """--data of a resumed sweep."""
        return self.data.folder if self.data is not None else None

    def provenance(self, dataset: Dataset) -> Mapping[str, Any]:
        """Return data files, versions and git state for a run on this dataset."""
        return _kept(self._provenance, dataset, lambda: provenance_of(dataset.data))

    def _prepare(self, point: Point) -> Job:
        data = data_key(point)
        if self._look is not None and self._look.key == data:
            self._datasets[data], look, self._look = self._look.dataset, self._look, None
            look.log()
        dataset = self._datasets.get(data)
        if dataset is None and self.data is not None:
            dataset = self.data.load(point.recorded, point.config.values)
        job = prepare(point.config, point.settings, dataset)
        _kept(self._datasets, data, lambda: job.dataset)
        return job


def _kept(cache: OrderedDict[Any, T], key: Any, make: Callable[[], T]) -> T:
    """Return a cached value, or create it; drop the oldest entry if there are too many."""
    if key not in cache:
        cache[key] = make()
        if len(cache) > KEPT:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]
