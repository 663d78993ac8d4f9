"""mlrun's own command line, in this process; the loop's time is what it writes down itself."""

import csv
import tempfile
from pathlib import Path

from contestant import answer, heat

from mlrun.cli import main as mlrun


def main() -> None:
    """Train with `--engine native|autograd` or `--members N`."""
    job = heat("engine", "members")
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
    seconds = max(float(h[-1]["seconds"]) - float(h[0]["seconds"]) for h in rows)
    answer(job, seconds, losses, members=len(rows))


if __name__ == "__main__":
    main()
