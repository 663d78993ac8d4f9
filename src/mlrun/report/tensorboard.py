"""Write TensorBoard event files.

torch's SummaryWriter takes seconds to import and needs a thread, and TensorBoard's own writer
computes checksums byte by byte in Python; this module computes those of many records at once.
"""

import struct
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.summary_v2 import hparams_pb

from mlrun.system.files import remove
from mlrun.system.no_links import opened
from mlrun.system.plain_text import one_line

TAGS = {"train/loss": "Loss/train", "valid/loss": "Loss/valid"}
FLUSH_SECONDS = 1.0
MANY = 40  # records of one length; for fewer, byte by byte is faster than numpy


class EventFile:
    """The event file of a run: scalars by epoch, and the hyperparameters.

    It replaces files of earlier attempts, so that no epoch appears twice.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for before in folder.glob("events.out.tfevents.*.mlrun"):
            remove(before)
        self._path = folder / f"events.out.tfevents.{int(time.time())}.mlrun"
        opened(self._path, "xb").close()
        self._held: list[bytes] = []
        self._flushed = time.monotonic()
        self._write(Event(wall_time=time.time(), file_version="brain.Event:2"))

    def hyperparameters(self, values: Mapping[str, Any]) -> None:
        """Write the settings for TensorBoard's HParams tab."""
        plain = {
            one_line(key): value if isinstance(value, bool | int | float) else one_line(value)
            for key, value in values.items()
        }
        self._write(Event(wall_time=time.time(), step=0, summary=hparams_pb(plain)))

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Write an epoch's row of metrics.csv, with losses as Loss/train and Loss/valid."""
        scalars = [
            Summary.Value(tag=TAGS.get(name) or one_line(name), simple_value=value)
            for name, value in row.items()
            if name not in ("epoch", "step", "seconds")
        ]
        self._write(Event(wall_time=time.time(), step=row["epoch"], summary=Summary(value=scalars)))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._flush()

    def close(self) -> None:
        """Write the buffered events."""
        self._flush()

    def _write(self, event: Event) -> None:
        self._held.append(event.SerializeToString())

    def _flush(self) -> None:
        with opened(self._path, "ab") as file:
            file.write(framed(self._held))
        self._held.clear()
        self._flushed = time.monotonic()


def framed(records: Sequence[bytes]) -> bytes:
    """Frame records as in TFRecord files: length, its checksum, the record, its checksum.

    https://www.tensorflow.org/tutorials/load_data/tfrecord
    """
    lengths = [struct.pack("<Q", len(record)) for record in records]
    parts = zip(lengths, checksums(lengths), records, checksums(records), strict=True)
    return b"".join(
        length + struct.pack("<I", first) + record + struct.pack("<I", second)
        for length, first, record, second in parts
    )


def checksums(records: Sequence[bytes]) -> list[int]:
    """Return the masked CRC-32C of each record; all records of one length at once."""
    of_length: dict[int, list[int]] = defaultdict(list)
    for number, record in enumerate(records):
        of_length[len(record)].append(number)
    found = np.zeros(len(records), np.uint32)
    for length, numbers in of_length.items():
        if len(numbers) < MANY:
            found[numbers] = [_checksum(records[number]) for number in numbers]
            continue
        together = b"".join(records[number] for number in numbers)
        rows = np.frombuffer(together, np.uint8).reshape(len(numbers), length)
        crc = np.full(len(numbers), 0xFFFFFFFF, np.uint32)
        for column in rows.T:
            crc = _CRC_TABLE[(crc ^ column) & 0xFF] ^ (crc >> 8)
        found[numbers] = ~crc
    return [int(masked) for masked in ((found >> 15) | (found << 17)) + np.uint32(0xA282EAD8)]


def _checksum(record: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in record:
        crc = _CRC_LIST[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc_table() -> NDArray[np.uint32]:
    """Return the remainders of all bytes for the reflected Castagnoli polynomial."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table


_CRC_TABLE = _crc_table()
_CRC_LIST = _CRC_TABLE.tolist()
