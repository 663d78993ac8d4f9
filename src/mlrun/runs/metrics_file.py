"""metrics.csv: one row per epoch."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlrun.system.files import csv_rows, write_atomically
from mlrun.system.no_links import opened


class MetricsFile:
    """Appends rows to metrics.csv; buffers them for at most a second."""

    FLUSH_SECONDS = 1.0

    def __init__(
        self, path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self._path = path
        self._columns = columns
        self._held: list[Mapping[str, Any]] = []
        self._written = time.monotonic()
        write_atomically(
            path, csv_rows([list(columns), *map(self._cells, rows)]).encode(), durable=False
        )

    def add(self, row: Mapping[str, Any]) -> None:
        """Add the row of an epoch; missing columns stay empty (no validation in that epoch)."""
        self._held.append(row)
        if time.monotonic() - self._written > self.FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Append the buffered rows."""
        with opened(self._path, "ab") as file:
            file.write(csv_rows(map(self._cells, self._held)).encode())
        self._held.clear()
        self._written = time.monotonic()

    def _cells(self, row: Mapping[str, Any]) -> list[Any]:
        return [row.get(column, "") for column in self._columns]
