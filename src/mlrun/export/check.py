"""Check that an exported file gives the same predictions as the original model."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from mlrun.data.cells import NONE, FileSettings
from mlrun.data.dataset import REGRESSION
from mlrun.data.preprocess.apply import raw_rows
from mlrun.data.rows import Rows
from mlrun.data.table_file import read_table
from mlrun.errors import MlrunError
from mlrun.export.odd_rows import ROWS, odd_table
from mlrun.export.reader import raw_inputs, read_texts
from mlrun.export.torch_file import Answers
from mlrun.runs.predictor import Predictor

# As the program reads a file: nothing is a comment or a note, whatever the levels look like.
AS_IT_IS = FileSettings(
    encoding="utf-8",
    separator="comma",
    decimal="point",
    header=1,
    comment=NONE,
    units=NONE,
    footer=NONE,
)
# Two programs sum float32 numbers in different orders; a sum of a thousand terms then differs by
# about 1e-6 of its largest term. A wrong weight or a swapped column changes the first three digits.
TOLERANCE = 1e-5


def largest_difference(predictor: Predictor, answer: Callable[[Tensor], Answers]) -> float:
    """Compare on real rows, on a single row, and on a file of 1,024 rows with odd spellings.

    mlrun reads that file, and so does the program that comes with the exported one.

    Args:
        predictor: the original, on the CPU and in float32.
        answer: computes the outputs of the file.

    Raises:
        MlrunError: a prediction differs by more than rounding.
    """
    rows = _rows_to_compare(predictor)
    parts = [(part, part) for part in (rows, rows[:1])]
    if predictor.contract["input"] == "table":
        parts.append(_rows_of_a_file(predictor))
    return max(_difference(predictor, ours, answer(theirs)) for ours, theirs in parts)


def compared_rows(predictor: Predictor) -> int:
    """Return the number of rows that `largest_difference` compares."""
    from_file = ROWS if predictor.contract["input"] == "table" else 0
    return len(predictor.examples) + from_file


def _rows_of_a_file(predictor: Predictor) -> tuple[Tensor, Tensor]:
    """Return the rows of a file with odd spellings, as mlrun and as the program read them."""
    contract = predictor.contract
    texts = [c["name"] for c in contract["columns"] if c["categories"] is not None]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "odd.csv")
        path.write_text(odd_table(contract, predictor.examples), encoding="utf-8")
        with _silent("mlrun"):
            table = read_table(path, AS_IT_IS, texts=texts).table
            ours = Rows(raw_rows(table, contract, path), None, []).inputs
        theirs = torch.from_numpy(raw_inputs(read_texts(str(path)), contract))
    return ours, theirs


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Silence reports about the cells that are odd on purpose."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _rows_to_compare(predictor: Predictor) -> Tensor:
    """Return the examples; for tables, also a row with unknown and one with missing values."""
    examples = predictor.examples
    unknown, missing = examples[:1].clone(), examples[:1].clone()
    for index, column in enumerate(predictor.contract.get("columns", [])):
        if column["categories"] is not None:
            unknown[:, index] = len(column["categories"])
        if column["fill"] is not None:
            missing[:, index] = torch.nan
    return torch.cat([examples, unknown, missing])


def _difference(predictor: Predictor, rows: Tensor, found: Answers) -> float:
    outputs = predictor.outputs(Rows(rows, None, []))
    allowed = TOLERANCE * outputs.abs().amax(dim=1, keepdim=True).clamp(min=1.0).double()
    wanted = predictor.objective.decode(outputs)
    if predictor.spec.kind == REGRESSION:
        return _within(found["prediction"], wanted, allowed * predictor.spec.target_scale)
    probabilities = predictor.objective.probabilities(outputs).float()
    lost = probabilities.gather(1, wanted[:, None])
    lost = lost - probabilities.gather(1, found["prediction"][:, None])  # 0: same class, or a tie
    _within(lost, torch.zeros_like(lost), allowed)
    return _within(found["probabilities"], probabilities, allowed)


def _within(found: Tensor, wanted: Tensor, allowed: Tensor) -> float:
    """Return the largest difference.

    Raises:
        MlrunError: the shapes differ, or a difference is too large.
    """
    if found.shape != wanted.shape:
        shapes = f"shape {tuple(found.shape)}, not {tuple(wanted.shape)}"
        raise MlrunError(f"the outputs of the exported model have {shapes}; no file was kept")
    same = (found == wanted) | (found.isnan() & wanted.isnan())
    difference = (found.double() - wanted.double()).abs().masked_fill(same, 0.0)
    if (difference.isnan() | (difference > allowed)).any():
        raise MlrunError(
            f"the exported model differs from the original by {difference.max():.2g} "
            f"(allowed: {allowed.min():.2g}); no file was kept"
        )
    return float(difference.max())
