"""rerun: train a recorded run again and report whether the results are identical."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mlrun.config.schema import settings_of
from mlrun.errors import MlrunError
from mlrun.runs.data import load_run_data
from mlrun.runs.ensemble import refuse_ensemble
from mlrun.runs.folder import RunFolder, claim_exactly, open_run
from mlrun.runs.single import train_run
from mlrun.runs.stopped import configuration
from mlrun.system.files import read_bytes

NOT_COMPARED = "seconds"


def rerun(
    folder: str,
    *,
    data: str | None = None,
    output: str | None = None,
    command: Sequence[str] = (),
) -> tuple[bool, list[str]]:
    """Train again from the recorded configuration, seed and data.

    Args:
        folder: the run folder.
        data: a folder with its data files, if they were moved.
        output: the new run folder; default: next to the run.
        command: the command line, for the record.

    Returns:
        Whether metrics.csv (without seconds) and pred.csv are identical, and the lines to print.

    Raises:
        MlrunError: there is no such run, it has no results, or its data is missing.
    """
    run = open_run(folder)
    refuse_ensemble(run, "rerun")
    _rows(run.metrics), _bytes(run.predictions)  # fail before the training, not afterwards
    config = configuration(run, None)
    dataset = load_run_data(run, config.values, None, data=data, exactly=False, split_anew=True)
    named = run.path if run.path.name.strip(".") else run.path.resolve()
    wanted = Path(output) if output else named.with_name(f"{named.name}_rerun")
    again: list[Path] = []

    def make_folder() -> Path:
        again.append(claim_exactly(wanted.parent, wanted.name))
        return again[0]

    settings = settings_of(config.values)
    train_run(config, settings, make_folder, command=command, dataset=dataset)
    return compare(run, open_run(again[0]))


def compare(run: RunFolder, again: RunFolder) -> tuple[bool, list[str]]:
    """Compare metrics, predictions and provenance of two runs."""
    first, second = _rows(run.metrics), _rows(again.metrics)
    different = _first_difference(first, second)
    if different is None and _bytes(run.predictions) != _bytes(again.predictions):
        different = "the metrics of all epochs are identical, but pred.csv differs"
    if different is None:
        return True, [f"identical: {len(first)} epochs and pred.csv, bit for bit ({again.path})"]
    reasons = list(_reasons(run, again))
    why = reasons or ["versions, data, code and device are the same; the cause is nondeterminism"]
    return False, [f"different: {different} ({again.path})", *why]


def _bytes(path: Path) -> bytes:
    try:
        return read_bytes(path)
    except OSError as error:
        raise MlrunError(f"{path}: cannot compare: {error.strerror}") from None


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = _bytes(path).decode()
        return list(csv.DictReader(text.splitlines(), strict=True))
    except (ValueError, csv.Error) as error:
        raise MlrunError(f"{path} is damaged: {error}") from None


def _first_difference(first: list[dict[str, str]], second: list[dict[str, str]]) -> str | None:
    for one, other in zip(first, second, strict=False):
        for column, value in one.items():
            if column != NOT_COMPARED and other.get(column) != value:
                return (
                    f"first in epoch {one.get('epoch')}, {column}: {value}, now {other.get(column)}"
                )
    if len(first) != len(second):
        return f"{len(first)} epochs, now {len(second)}"
    return None


def _reasons(before: RunFolder, now: RunFolder) -> Iterator[str]:
    versions = before.entry("versions", dict), now.entry("versions", dict)
    for package in sorted({*versions[0], *versions[1]}):
        pair = [version.get(package) for version in versions]
        if pair[0] != pair[1]:
            yield f"{package}: {pair[0]}, now {pair[1]}"
    hashes = {file["role"]: file["sha256"] for file in before.entry("data", list)}
    for file in now.entry("data", list):
        if hashes.get(file["role"]) != file["sha256"]:
            yield f"data: {file['path']} has changed"
    commits = [_commit(run.record.get("git")) for run in (before, now)]
    if commits[0] != commits[1]:
        yield f"code: {commits[0]}, now {commits[1]}"
    yield from _kernel_differences(before.record.get("kernel"), now.record.get("kernel"))
    for key in ("device", "engine", "threads"):
        if before.record.get(key) != now.record.get(key):
            yield f"{key}: {before.record.get(key)}, now {now.record.get(key)}"


def _kernel_differences(before: Any, now: Any) -> Iterator[str]:
    """Yield the differences of two entries `kernel`; none if only torch computed a run."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            yield f"kernel's {key}: {before.get(key)}, now {now.get(key)}"


def _commit(state: Any) -> str:
    if not isinstance(state, dict):
        return "no commit"
    return f"{str(state.get('commit'))[:12]}{' with changes' if state.get('dirty') else ''}"
