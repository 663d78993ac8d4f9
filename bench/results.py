"""`make results`: train every row of the README's table on the real data, three seeds each.

It needs the real files (MLRUN_DATA or ./data) and refuses the bundled sample data, so that no
number in the table can come from it. Writes docs/results.md and the table in README.md.
"""

import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

SEEDS = (0, 1, 2)
TOP = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Line:
    """One row of the table: the command, and the metric and part of the data that it shows."""

    command: str
    part: str
    metric: str


LINES = (
    Line("task=covid", "valid", "mse"),
    Line("experiment=covid_linear", "valid", "mse"),
    Line("task=phone_price", "valid", "accuracy"),
    Line("experiment=phone_price_linear", "valid", "accuracy"),
    Line("task=mnist", "test", "accuracy"),
    Line("experiment=mnist_cnn", "test", "accuracy"),
)


def main() -> None:
    """Train every row, print the table and write it into the pages."""
    header = (
        "| command | trained on | score | mean ± std of 3 seeds |",
        "| --- | --- | --- | --- |",
    )
    table = "\n".join([*header, *measured()])
    print(table)
    note = (
        f"Measured on {date.today()} by `make results`: {platform.machine()}, "
        f"Python {platform.python_version()}, 2 CPU cores, no GPU. covid and phone_price: the "
        "score is on a random 20 % of the training file, which also selects the best epoch, and "
        "neighbouring days of covid overlap, so scores on unseen data will be worse; mnist: the "
        "score is on the 10,000 test images, computed once, with the weights of the best "
        "validation epoch."
    )
    text = f"{table}\n\n{note}\n"
    (TOP / "docs" / "results.md").write_text(f"# Results on the real data\n\n{text}")
    readme = TOP / "README.md"
    between = re.compile(r"(<!-- results -->\n).*(<!-- /results -->)", re.DOTALL)
    readme.write_text(between.sub(lambda m: f"{m[1]}{text}{m[2]}", readme.read_text()))


def measured() -> Iterator[str]:
    """Yield the rows of the table."""
    for line in LINES:
        records = [run(line.command, seed) for seed in SEEDS]
        scores = [record["metrics"][line.part][line.metric] for record in records]
        spread = f"{statistics.mean(scores):.4f} ± {statistics.stdev(scores):.4f}"
        rows = records[0]["rows"]
        parts = f"{rows['train']:,} rows, {rows[line.part]:,} for "
        parts += "testing" if line.part == "test" else "validation"
        score = f"{line.part} {line.metric}"
        yield f"| `mlrun {line.command}` | {parts} | {score} | {spread} |"


def run(command: str, seed: int) -> dict[str, Any]:
    """Train once with the command line; return the content of run.json."""
    with tempfile.TemporaryDirectory() as outputs:
        words = [command, f"seed={seed}", "quiet=true", f"paths.outputs={outputs}"]
        done = subprocess.run(
            [sys.executable, "-m", "mlrun", *words], stdout=subprocess.PIPE, text=True, check=True
        )
        record: dict[str, Any] = json.loads(Path(done.stdout.strip(), "run.json").read_text())
    if record["sample"]:
        sys.exit(f"{command}: no real data found; set MLRUN_DATA")
    return record


if __name__ == "__main__":
    main()
