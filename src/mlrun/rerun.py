"""rerun: train a recorded run again and say whether it came out the same, and if not, why."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlrun.resume import configuration
from mlrun.run_data import load_run_data
from mlrun.run_folder import RunFolder, claim_exactly, open_run
from mlrun.train import train

NOT_COMPARED = "seconds"


def rerun(folder: str, *, command: Sequence[str] = ()) -> tuple[bool, list[str]]:
    """Train again from the recorded configuration, seed and data, into a folder beside the run.

    Returns:
        Whether metrics.csv (seconds aside) and pred.csv are identical, and the verdict's lines.

    Raises:
        MlrunError: no such run, or its data is gone.
    """
    run = open_run(folder)
    config = configuration(run, None)
    dataset = load_run_data(run, config, None, exactly=False)
    again: list[Path] = []

    def make_folder() -> Path:
        again.append(claim_exactly(run.path.parent, f"{run.path.name}_rerun"))
        return again[0]

    train(config, make_folder, command=command, dataset=dataset)
    return verdict(run, open_run(again[0]))


def verdict(run: RunFolder, again: RunFolder) -> tuple[bool, list[str]]:
    """Compare two runs' metrics and predictions, and what they were made of."""
    first, second = _rows(run.metrics), _rows(again.metrics)
    different = _first_difference(first, second)
    if different is None and run.predictions.read_bytes() != again.predictions.read_bytes():
        different = "metrics are the same in every epoch, but pred.csv differs"
    if different is None:
        return True, [f"identical: {len(first)} epochs and pred.csv, bit for bit ({again.path})"]
    reasons = list(_reasons(run.record, again.record))
    why = reasons or ["versions, data, code and device are the same: look for nondeterminism"]
    return False, [f"different: {different} ({again.path})", *why]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _first_difference(first: list[dict[str, str]], second: list[dict[str, str]]) -> str | None:
    for one, other in zip(first, second, strict=False):
        for column, value in one.items():
            if column != NOT_COMPARED and other.get(column) != value:
                return f"first in epoch {one['epoch']}, {column}: {value}, now {other.get(column)}"
    if len(first) != len(second):
        return f"{len(first)} epochs, now {len(second)}"
    return None


def _reasons(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for package in sorted({*before["versions"], *now["versions"]}):
        pair = before["versions"].get(package), now["versions"].get(package)
        if pair[0] != pair[1]:
            yield f"{package}: {pair[0]}, now {pair[1]}"
    hashes = {file["role"]: file["sha256"] for file in before["data"]}
    for file in now["data"]:
        if hashes.get(file["role"]) != file["sha256"]:
            yield f"data: {file['path']} has changed"
    if before["git"] != now["git"]:
        yield f"code: {_commit(before['git'])}, now {_commit(now['git'])}"
    for key in ("device", "threads"):
        if before[key] != now[key]:
            yield f"{key}: {before[key]}, now {now[key]}"


def _commit(state: dict[str, Any] | None) -> str:
    if state is None:
        return "no commit"
    return f"{state['commit'][:10]}{' with changes' if state['dirty'] else ''}"
