"""export: write a run's best model with its preprocessing as one file for another program.

Before the file is kept, the other program loads it and predicts real rows from the checkpoint; the
predictions must equal those of the original model.
"""

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlrun.config.build import plain
from mlrun.errors import MlrunError, did_you_mean
from mlrun.export import safetensors_file, torch_file
from mlrun.export.check import compared_rows, largest_difference
from mlrun.export.program import program_for
from mlrun.export.torch_file import Answers, Facts
from mlrun.runs.ensemble import refuse_ensemble
from mlrun.runs.folder import open_run
from mlrun.runs.predictor import Predictor, open_predictor
from mlrun.system.files import file_at, output_errors, read_bytes, replaced, write_atomically
from mlrun.training.engines.autograd import outputs_by_torch
from mlrun.version import __version__

log = logging.getLogger(__name__)

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors"}


@dataclass(frozen=True)
class Exported:
    """An exported file and its comparison with the original."""

    path: Path
    rows: int  # number of compared rows
    difference: float  # largest difference, in the target's unit or as a probability
    program: Path | None = None  # reads new rows for the file


@dataclass(frozen=True)
class Format:
    """An export format: how to create a file, and how to load it as a function of raw rows."""

    to_bytes: Callable[[Predictor, Facts], bytes]
    load: Callable[[Path], Callable[[Tensor], Answers]]


def export(folder: str, format: str, *, output: str | None = None) -> Exported:
    """Write a run's best model as one file and check its predictions.

    Args:
        folder: the run folder.
        format: onnx | torch_export | safetensors.
        output: the file; default: `model.<suffix>` in the run folder.

    Raises:
        MlrunError: the run or format does not exist, a package is not installed, the file cannot
            be written, or its predictions differ.
    """
    kind = format_of(format)
    run = open_run(folder)
    refuse_ensemble(run, "export")
    predictor, values = open_predictor(run)
    path = run.path / f"model{SUFFIXES[format]}"
    if output is not None:
        path = _named(Path(output))
    exported = write(path, kind, predictor, values)
    program = program_for(format, path.name) if predictor.contract["input"] == "table" else None
    if program is None:
        return exported
    return replace(exported, program=_write_program(path, program))


def _named(path: Path) -> Path:
    """Return the file that the user names; a link leads to it."""
    with output_errors(path):
        target = file_at(path)
    if target is None or str(path) == "-":
        raise MlrunError(f"--output {path}: an export needs a file")
    return target if path.is_symlink() else path


def _write_program(path: Path, program: str) -> Path | None:
    """Write the program beside the file, unless someone else's is there."""
    target = path.with_name(f"{path.name}.py")
    first = program.splitlines()[0]
    if os.path.lexists(target) and not _begins_with(target, first):
        log.warning("%s exists and is not from mlrun export: it was not replaced", target)
        return None
    with output_errors(target):
        write_atomically(target, program.encode())
    return target


def _begins_with(path: Path, line: str) -> bool:
    with suppress(OSError, MlrunError):  # e.g. a link
        return read_bytes(path).startswith(line.encode())
    return False


def write(path: Path, kind: Format, predictor: Predictor, values: Mapping[str, Any]) -> Exported:
    """Create the file, compare its predictions, and keep it if they agree.

    Raises:
        MlrunError: the file cannot be written, or its predictions differ; an old file stays.
    """
    cpu, exact = torch.device("cpu"), partial(outputs_by_torch, precision="32")
    predictor = replace(predictor, model=predictor.model.to(cpu), device=cpu, outputs_of=exact)
    with _quiet():
        content = kind.to_bytes(predictor, facts_of(predictor, values))
        with output_errors(path), replaced(path) as file:
            file.write(content)
            file.flush()
            difference = largest_difference(predictor, kind.load(Path(file.name)))
    return Exported(path, compared_rows(predictor), difference)


def format_of(name: str) -> Format:
    """Return the format with this name.

    Raises:
        MlrunError: it does not exist, or a required package is not installed.
    """
    if name not in SUFFIXES:
        hint = did_you_mean(name, SUFFIXES)
        raise MlrunError(f"--format {name}: must be {' or '.join(SUFFIXES)}.{hint}")
    if name == "torch_export":
        return Format(torch_file.to_bytes, torch_file.load)
    if name == "safetensors":
        return Format(safetensors_file.to_bytes, safetensors_file.load)
    try:
        from mlrun.export import onnx_file
    except ImportError as error:
        missing = f"--format onnx needs the package {error.name}"
        raise MlrunError(f"{missing}: pip install 'mlrun-cli[onnx]'") from None
    return Format(onnx_file.to_bytes, onnx_file.load)


def facts_of(predictor: Predictor, values: Mapping[str, Any]) -> Facts:
    """Return the description for the file, which also allows rebuilding the model."""
    facts = {
        "mlrun": {"version": __version__},
        "contract": predictor.contract,
        "spec": asdict(predictor.spec),
        "config": {group: plain(values[group]) for group in ("model", "loss")},
    }
    return {name: json.dumps(value) for name, value in facts.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' messages about their own code and optional packages."""
    logs = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
