"""Measure the cost of one read of the table, one checkpoint and one log line."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from contestant import heat
from in_torch import network, optimizer_of
from torch.utils.tensorboard import SummaryWriter

from mlrun.data.table_file import read_table
from mlrun.report.tensorboard import EventFile
from mlrun.runs.checkpoint import save_state

TIMES = 20


def main() -> None:
    """Measure each several times."""
    job, folder = heat(), Path(tempfile.mkdtemp())
    table = job.folder / "data" / "covid" / "covid.train.csv"
    model = network(job.job)
    state: dict[str, Any] = {"weights": model.state_dict()}
    optimizer_of(job.job, model)
    writer, events = SummaryWriter(folder / "torch"), EventFile(folder / "mlrun")
    row = {"epoch": 1, "train/loss": 0.5, "valid/loss": 0.5}
    for label, work in (
        ("pandas.read_csv, covid", lambda: pd.read_csv(table)),
        ("mlrun's read_table, covid", lambda: read_table(table)),
        ("torch.save, covid", lambda: torch.save(state, folder / "torch.pt")),
        (
            "mlrun's checkpoint, covid (flushed to disk)",
            lambda: save_state(folder / "mlrun", state),
        ),
        ("SummaryWriter, two scalars", lambda: _two_scalars(writer)),
        ("mlrun's event file, two scalars", lambda: events.epoch(row)),
    ):
        time_of(label, work)


def _two_scalars(writer: SummaryWriter) -> None:
    writer.add_scalar("train/loss", 0.5, 1)
    writer.add_scalar("valid/loss", 0.5, 1)


def time_of(label: str, work: Callable[[], object]) -> None:
    """Run it once, then several times, and print the time."""
    work()
    begun = time.perf_counter()
    for _ in range(TIMES):
        work()
    line = {"label": label, "seconds": time.perf_counter() - begun, "epochs": 1, "steps": TIMES}
    print("\n" + json.dumps(line | {"losses": [], "flops": 0}))


if __name__ == "__main__":
    main()
