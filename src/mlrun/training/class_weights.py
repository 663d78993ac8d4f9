"""Class weights of a loss: `loss.weight=balanced`, a list, or a mapping of labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mlrun.data.dataset import CLASSIFICATION, Spec
from mlrun.errors import MlrunError, did_you_mean

WEIGHTED = {
    f"torch.nn.{kind.__name__}": kind
    for kind in (nn.CrossEntropyLoss, nn.NLLLoss, nn.BCEWithLogitsLoss)
}
BALANCED = "balanced"


def without_weight(node: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    """Return the node of a loss without its class weights, and these; other classes keep theirs."""
    if node.get("_target_", "torch.nn.CrossEntropyLoss") not in WEIGHTED:
        return dict(node), None
    return {key: value for key, value in node.items() if key != "weight"}, node.get("weight")


def weight_arguments(target: str, weight: Any, spec: Spec) -> dict[str, Tensor]:
    """Return the arguments that give a loss of torch these class weights; empty without any.

    Args:
        target: the class of the loss.
        weight: balanced, a list in the order of the classes, a mapping of labels, or None.
        spec: has the classes, and their training rows for `balanced`.

    Raises:
        MlrunError: the weights do not fit the classes.
    """
    if weight is None:
        return {}
    if spec.kind != CLASSIFICATION or target not in WEIGHTED:
        raise MlrunError(
            f"loss.weight={weight}: class weights need a classification with loss=cross_entropy, "
            "nll or bce_with_logits"
        )
    weights = torch.tensor(_per_class(weight, spec))
    if WEIGHTED[target] is not nn.BCEWithLogitsLoss:
        return {"weight": weights}
    if len(weights) > 2:
        raise MlrunError("loss.weight: with more than two classes, use loss=cross_entropy")
    return {"weight": weights[:1], "pos_weight": weights[1:] / weights[:1]}


def _per_class(weight: Any, spec: Spec) -> list[float]:
    classes = spec.classes
    if weight == BALANCED:
        return _balanced(spec)
    if isinstance(weight, Mapping):
        named = {str(label): number for label, number in weight.items()}
        for label in named:
            if label not in classes:
                hint = did_you_mean(label, classes)
                raise MlrunError(f"loss.weight: '{label}' is not a class.{hint} {_listed(spec)}")
        weight = [named.get(label, 1.0) for label in classes]
    if not isinstance(weight, Sequence) or isinstance(weight, str):
        raise MlrunError(
            f"loss.weight={weight}: must be balanced, a list of numbers, or {{LABEL: number}}"
        )
    if len(weight) != len(classes):
        raise MlrunError(f"loss.weight has {len(weight)} numbers. {_listed(spec)}")
    if not all(type(number) in (int, float) and number > 0 for number in weight):
        raise MlrunError(f"loss.weight={list(weight)}: each weight must be a number above 0")
    return [float(number) for number in weight]


def _balanced(spec: Spec) -> list[float]:
    """Return n / (classes * n_class), as scikit-learn's compute_class_weight("balanced")."""
    if not spec.rows_per_class:
        raise MlrunError("loss.weight=balanced: this data class does not count the rows per class")
    total, classes = sum(spec.rows_per_class), len(spec.classes)
    return [total / (classes * max(rows, 1)) for rows in spec.rows_per_class]


def _listed(spec: Spec) -> str:
    return f"The {len(spec.classes)} classes are {', '.join(spec.classes[:20])}"
