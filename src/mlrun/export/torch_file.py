"""The model for raw rows, and its export with torch.export."""

import copy
import io
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mlrun.data.dataset import REGRESSION
from mlrun.data.preprocess.module import Contract, build_preprocess
from mlrun.runs.predictor import Predictor
from mlrun.training.objective import Objective

Answers = dict[str, Tensor]  # `prediction` and, for a classification, `probabilities`
Facts = dict[str, str]  # the description in an exported file: name → JSON


class RawModel(nn.Module):
    """Preprocessing, network and decoding in one module, for inference only.

    Input: rows in the order of the contract, (n, columns) float64 with categories as indices, or
    (n, channels, height, width) uint8. Output: `prediction`, (n, 1) float64 in the target's unit;
    or `prediction`, (n,) int64 class numbers, and `probabilities`, (n, classes) float32.
    """

    def __init__(self, contract: Contract, model: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.contract, self.spec = contract, objective.spec
        self.preprocess = build_preprocess(contract)
        self.model = model
        self._objective = objective
        self.eval().requires_grad_(False)

    def forward(self, rows: Tensor) -> Answers:
        """Compute predictions for raw rows."""
        outputs = self.model(self.preprocess(rows))
        answers = {"prediction": self._objective.decode(outputs)}
        if self.spec.kind != REGRESSION:
            answers["probabilities"] = self._objective.probabilities(outputs).float()
        return answers


def trace(predictor: Predictor) -> ExportedProgram:
    """Export the model as a graph for any number of raw rows.

    The graph does not contain paths of source files, and the rows for tracing, which the file
    keeps, are zeros instead of real data.
    """
    network = _without_noise(copy.deepcopy(predictor.model))
    model = RawModel(predictor.contract, network, predictor.objective)
    # Two rows: with one, torch would assume that there is always one.
    rows = torch.zeros(2, *predictor.examples.shape[1:], dtype=predictor.examples.dtype)
    program = torch.export.export(model, (rows,), dynamic_shapes=({0: Dim("rows")},), strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    return program


def _without_noise(model: nn.Module) -> nn.Module:
    """Replace RReLU with the equivalent leaky ReLU, because ONNX does not have it."""
    for name, child in model.named_children():
        if isinstance(child, nn.RReLU):
            setattr(model, name, nn.LeakyReLU((child.lower + child.upper) / 2))
        else:
            _without_noise(child)
    return model


def to_bytes(predictor: Predictor, facts: Facts) -> bytes:
    """Return the content of a .pt2 file, with `contract.json` and the other facts as extras."""
    buffer = io.BytesIO()
    extra = {f"{name}.json": text for name, text in facts.items()}
    torch.export.save(trace(predictor), buffer, extra_files=extra)
    return buffer.getvalue()


def load(path: Path) -> Callable[[Tensor], Answers]:
    """Load a .pt2 file as a function."""
    with path.open("rb") as file:
        module: nn.Module = torch.export.load(file).module()
    return module
