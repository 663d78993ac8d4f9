"""Whether an exported file answers as the model that it was made of."""

from collections.abc import Callable

import torch
from torch import Tensor

from mlrun.data.dataset import REGRESSION
from mlrun.data.rows import Rows
from mlrun.errors import MlrunError
from mlrun.export.torch_file import Answers
from mlrun.runs.predictor import Predictor

# Two programs add float32 numbers up in different orders, and a sum of a thousand terms then
# differs by some 1e-6 of its largest. A wrong weight, or a column in another's place, shows in
# the first three digits.
TOLERANCE = 1e-5


def largest_difference(predictor: Predictor, answer: Callable[[Tensor], Answers]) -> float:
    """Compare on real rows, on rows with unknown and missing values, and on a row alone.

    Args:
        trained: the original, on the CPU and in float32.
        answer: what the file computes.

    Raises:
        MlrunError: a prediction differs by more than rounding explains.
    """
    rows = _rows_to_compare(predictor)
    return max(_difference(predictor, part, answer(part)) for part in (rows, rows[:1]))


def _rows_to_compare(predictor: Predictor) -> Tensor:
    """The examples; of a table also one with no known category, and one that lacks all it may."""
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
        # The sum with the target's mean is rounded once more, at that size.
        rounding = 4 * torch.finfo(torch.float32).eps * wanted.abs().double()
        allowed = allowed * predictor.spec.target_scale + rounding
        return _within(found["prediction"], wanted, allowed)
    probabilities = predictor.objective.probabilities(outputs).float()
    lost = probabilities.gather(1, wanted[:, None])
    lost = lost - probabilities.gather(1, found["prediction"][:, None])  # 0: same class, or a tie
    _within(lost, torch.zeros_like(lost), allowed)
    return _within(found["probabilities"], probabilities, allowed)


def _within(found: Tensor, wanted: Tensor, allowed: Tensor) -> float:
    """The largest difference.

    Raises:
        MlrunError: another shape, or one of them is larger than allowed.
    """
    if found.shape != wanted.shape:
        shapes = f"shape {tuple(found.shape)}, not {tuple(wanted.shape)}"
        raise MlrunError(f"the exported model's answers have {shapes}: no file was kept")
    same = (found == wanted) | (found.isnan() & wanted.isnan())
    difference = (found.double() - wanted.double()).abs().masked_fill(same, 0.0)
    if (difference.isnan() | (difference > allowed)).any():
        raise MlrunError(
            f"the exported model differs from the original by {difference.max():.2g} "
            f"(allowed: {allowed.min():.2g}): no file was kept"
        )
    return float(difference.max())
