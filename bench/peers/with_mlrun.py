"""mlrun's own command line, in this process, with a stopwatch around its training loop."""

import csv
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contestant import answer, heat

from mlrun import loop, members, train
from mlrun.cli import main as mlrun


def main() -> None:
    """Train with `--engine native|autograd` or `--members N`."""
    job, spent = heat("engine", "members"), stopwatch()
    run = Path(tempfile.mkdtemp(), "run")
    words = [*job.job.overrides(job.folder / "data"), f"trainer.epochs={job.epochs}"]
    words += [f"trainer.engine={job.options.engine or 'auto'}", f"hydra.run.dir={run}"]
    if job.options.members:
        words.append(f"seeds={job.options.members}")
    if code := mlrun(words):
        raise SystemExit(code)
    histories = sorted(run.glob("members/*/metrics.csv")) or [run / "metrics.csv"]
    rows = [list(csv.DictReader(path.open())) for path in histories]
    losses = [
        sum(float(r["valid/loss"]) for r in of_all) / len(rows)
        for of_all in zip(*rows, strict=True)
    ]
    # Epochs are computed ahead, so none of them, not even the first, can be left out.
    seconds = sum(spent) * (job.epochs - 1) / job.epochs
    answer(job, seconds, losses, members=len(rows))


def stopwatch() -> list[float]:
    """From here on, what each training loop takes, with all that it writes down."""
    spent: list[float] = []

    def timed(*arguments: Any, **named: Any) -> Iterator[Any]:
        begun = time.perf_counter()
        yield from fit(*arguments, **named)
        spent.append(time.perf_counter() - begun)

    fit = loop.fit
    train.fit = members.fit = timed
    return spent


if __name__ == "__main__":
    main()
