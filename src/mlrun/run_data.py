"""The data a run was made from: found again by its record, and refused if it has changed."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from mlrun.build import build
from mlrun.data.preprocess import Contract
from mlrun.data.spec import Dataset
from mlrun.errors import MlrunError
from mlrun.report.provenance import sha256
from mlrun.run_folder import RunFolder, read_json


def load_run_data(
    run: RunFolder,
    config: DictConfig,
    contract: Contract | None,
    *,
    exactly: bool = True,
) -> Dataset:
    """The run's rows, with its preprocessing (fitted anew without contract).

    `exactly`: the files must be what they were and are split as they were; else they may have
    changed, and are split as the configuration says.

    Raises:
        MlrunError: a file is gone or is not what it was.
    """
    recorded: list[dict[str, Any]] = run.record["data"]
    for file in recorded:
        _check(Path(file["path"]), file["sha256"] if exactly else None)
    files = {file["role"]: Path(file["path"]) for file in recorded}
    split = read_json(run.split) if exactly else None
    sample = bool(run.record["sample"])
    dataset: Dataset = build("data", config).load(
        files=files, split=split, contract=contract, sample=sample
    )
    return dataset


def _check(path: Path, digest: str | None) -> None:
    if not path.is_file():
        raise MlrunError(f"the run's data file {path} is gone")
    if digest is not None and sha256(path) != digest:
        raise MlrunError(f"the run's data file {path} has changed since the run")
