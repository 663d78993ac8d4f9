"""Which jobs of a sweep may be trained together, and which of them wait to continue."""

from typing import Any

from mlrun.runs.group import PreparedRun
from mlrun.runs.job import Job
from mlrun.sweeps.points import Point
from mlrun.training.loop import finished


def is_of_several(point: Point) -> bool:
    """Whether the job is itself an ensemble."""
    return bool(point.settings.seeds or point.settings.folds)


def waits(prepared: PreparedRun) -> bool:
    """Whether the run is paused."""
    out_of_time = prepared.job.settings.trainer.max_minutes is not None
    return not out_of_time and not finished(prepared.progress, prepared.job.settings.trainer)


def alike(first: PreparedRun, other: PreparedRun) -> bool:
    """Whether two jobs may be trained together: always in the kernel, else if stackable."""
    if first.job.engine.trains_together and other.job.engine.trains_together:
        return True
    return stackable(first.job) == stackable(other.job)


def stackable(job: Job) -> dict[str, Any]:
    """Return what stacked jobs must share: everything except seed, split and learning rate."""
    free = {"data": "split", "optimizer": "lr", "scheduler": "max_lr"}
    nodes = {
        group: {key: value for key, value in job.plain_config[group].items() if key != name}
        for group, name in free.items()
    }
    return job.plain_config | nodes | {"seed": None, "device": str(job.predictor.device)}
