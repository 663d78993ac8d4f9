"""TensorBoard event files, written with TensorBoard's own record writer.

torch's SummaryWriter takes seconds to import and a thread to write; a scalar is a small record.
"""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

TAGS = {"train/loss": "Loss/train", "valid/loss": "Loss/valid"}
FLUSH_SECONDS = 1.0


class EventFile:
    """One run's event file: scalars by epoch, and the hyperparameters.

    A run has one file: those of the attempts before are replaced, so that no epoch is in twice.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for before in folder.glob("events.out.tfevents.*.mlrun"):
            before.unlink()
        path = folder / f"events.out.tfevents.{int(time.time())}.mlrun"
        self._records = RecordWriter(path.open("wb"))
        self._flushed = time.monotonic()
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def hyperparameters(self, values: Mapping[str, Any]) -> None:
        """The settings that TensorBoard's HParams tab lists."""
        plain = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in values.items()}
        self._write(Event(wall_time=time.time(), step=0, summary=hparams_pb(plain)))

    def epoch(self, row: Mapping[str, Any]) -> None:
        """One epoch's row of metrics.csv; losses as Loss/train and Loss/valid."""
        scalars = [
            Summary.Value(tag=TAGS.get(name, name), simple_value=value)
            for name, value in row.items()
            if name not in ("epoch", "step", "seconds")
        ]
        self._write(Event(wall_time=time.time(), step=row["epoch"], summary=Summary(value=scalars)))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._records.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Write what is held and close the file."""
        self._records.close()

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
