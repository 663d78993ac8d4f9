"""Run the mlrun command in this process with a stopwatch around its training loop."""

import csv
import gc
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contestant import answer, heat

from mlrun.cli.main import entry_point


def main() -> None:
    """Train with `--engine native|autograd` or `--members N`."""
    gc.disable()  # as the command does before its imports
    job, spent = heat("engine", "members"), stopwatch()
    run = Path(tempfile.mkdtemp(), "run")
    words = [*job.job.overrides(job.folder / "data"), f"trainer.epochs={job.epochs}"]
    words += [f"trainer.engine={job.options.engine or 'auto'}", f"hydra.run.dir={run}"]
    if job.options.members:
        words.append(f"seeds={job.options.members}")
    sys.argv = ["mlrun", *words]
    try:
        entry_point()
    except SystemExit as ended:
        if ended.code:
            raise
    histories = sorted(run.glob("members/*/metrics.csv")) or [run / "metrics.csv"]
    rows = [list(csv.DictReader(path.open())) for path in histories]
    losses = [
        sum(float(r["valid/loss"]) for r in of_all) / len(rows)
        for of_all in zip(*rows, strict=True)
    ]
    # The kernel computes epochs ahead, so the first epoch cannot be excluded.
    seconds = sum(spent) * (job.epochs - 1) / job.epochs
    answer(job, seconds, losses, members=len(rows))


def stopwatch() -> list[float]:
    """Start to measure every training loop, including its logging; return the list of times."""
    from mlrun.runs import group as together
    from mlrun.runs import single as train
    from mlrun.training import loop

    spent: list[float] = []

    def timed(*arguments: Any, **named: Any) -> Iterator[Any]:
        begun = time.perf_counter()
        yield from fit(*arguments, **named)
        spent.append(time.perf_counter() - begun)

    fit = loop.fit
    train.fit = together.fit = timed
    return spent


if __name__ == "__main__":
    main()
