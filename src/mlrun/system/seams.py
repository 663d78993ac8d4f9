"""Named places at which tests inject faults; in production nothing listens there.

Tests name a place instead of patching a private function, so that code can move.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any


class Place(StrEnum):
    """Where a fault may strike; the facts that a listener gets are in parentheses."""

    RUN_BEGINS = "before the first file of a run"
    TRAINING_BEGINS = "before training"
    EPOCH_BEGINS = "before an epoch"
    STEP_BEGINS = "between the gradients and the optimizer step"
    KERNEL_STATE_TAKEN = "before the numbers of the kernel become torch's"
    EPOCH_SCORED = "after validation, before the best epoch is updated"
    EPOCH_RECORDING = "before an epoch is written (run, epoch)"
    EPOCH_RECORDED = "after an epoch is written (run, epoch)"
    RECORD_CLOSING = "before the files of a run are closed (run)"
    CHECKPOINTS_WRITING = "between metrics.csv and the checkpoints"
    SCORING_BEGINS = "after training, before the scores"
    STATE_RESTORING = "before the state of a checkpoint is restored"
    STATE_RESTORED = "after the state of a checkpoint is restored"
    JOB_BEGINS = "before a job of a sweep is prepared"
    LAUNCHED_JOB_BEGINS = "before a job that another launcher started"


Listener = Callable[[dict[str, Any]], None]
_listeners: dict[Place, Listener] = {}


def reached(place: Place, **facts: Any) -> None:
    """Report that the program is at this place; a listener may raise, or end the process."""
    if _listeners and (listener := _listeners.get(place)):
        listener(facts)


@contextmanager
def listening(place: Place, listener: Listener) -> Iterator[None]:
    """Call `listener` with the facts each time the program reaches this place."""
    before = dict(_listeners)
    _listeners[place] = listener
    try:
        yield
    finally:
        _listeners.clear()
        _listeners.update(before)
