"""The loss, its targets, and the conversion of outputs into predictions."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mlrun.config.build import build_node, plain
from mlrun.data.dataset import CLASSIFICATION, REGRESSION, Spec
from mlrun.errors import MlrunError
from mlrun.training.class_weights import weight_arguments, without_weight
from mlrun.training.own_metrics import OwnMetric, build_metrics, rehearse_metric

LOSSES: dict[str, tuple[type[nn.Module], ...]] = {
    REGRESSION: (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss),
    CLASSIFICATION: (nn.CrossEntropyLoss, nn.NLLLoss, nn.BCEWithLogitsLoss),
}
SUGGESTED = {REGRESSION: "mse, mae, smooth_l1 or huber", CLASSIFICATION: "cross_entropy"}


@dataclass(frozen=True)
class Objective:
    """The loss, with the encoding of targets, the decoding of outputs, and the user's metrics."""

    loss: nn.Module
    spec: Spec
    metrics: tuple[OwnMetric, ...] = ()
    _copies: dict[torch.device, nn.Module] = field(default_factory=dict, repr=False, compare=False)

    @property
    def out_features(self) -> int:
        """Number of outputs of the network; BCE needs only one for two classes."""
        return 1 if self._single_logit else self.spec.out_features

    @property
    def _single_logit(self) -> bool:
        return isinstance(self.loss, nn.BCEWithLogitsLoss) and self.spec.out_features == 2

    def complete(self, model: nn.Module) -> nn.Module:
        """Add the output layer that the loss needs: log-softmax for NLL, otherwise none."""
        if isinstance(self.loss, nn.NLLLoss):
            return nn.Sequential(model, nn.LogSoftmax(dim=1))
        return model

    def loss_of(self, outputs: Tensor, encoded: Tensor) -> Tensor:
        """Return the mean loss, on the device of the outputs, where its class weights must be."""
        device = outputs.device
        if device.type != "cpu" and device not in self._copies:
            self._copies[device] = copy.deepcopy(self.loss).to(device)
        loss: Tensor = self._copies.get(device, self.loss)(outputs, encoded)
        return loss

    def encode(self, targets: Tensor) -> Tensor:
        """Encode targets for the loss.

        Returns (n, 1) float32 values, standardised by the spec in the precision of `targets`; or
        (n,) class numbers; or, for BCE, (n, 1) or (n, classes) zeros and ones.
        """
        if self.spec.kind == REGRESSION:
            return ((targets - self.spec.target_center) / self.spec.target_scale).float()
        if not isinstance(self.loss, nn.BCEWithLogitsLoss):
            return targets
        if self._single_logit:
            return targets.float().unsqueeze(1)
        return nn.functional.one_hot(targets, self.spec.out_features).float()

    def decode(self, outputs: Tensor) -> Tensor:
        """Decode outputs: (n, 1) float64 values in the target's unit, or (n,) class numbers."""
        if self.spec.kind == REGRESSION:
            # As tensors: the exporter for ONNX rounds plain numbers to float32.
            center, scale = (
                torch.tensor(number, dtype=torch.float64, device=outputs.device)
                for number in (self.spec.target_center, self.spec.target_scale)
            )
            return outputs.double() * scale + center
        if self._single_logit:
            return (outputs[:, 0] > 0).long()
        return outputs.argmax(dim=1)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Return probabilities: (n, classes) float64, each row sums to 1.

        One-vs-rest probabilities are scaled to this sum, as in scikit-learn's OneVsRestClassifier.

        Raises:
            MlrunError: the task is a regression.
        """
        if self.spec.kind == REGRESSION:
            raise MlrunError(f"'{self.spec.target}' is a number, so it has no probabilities")
        exact = outputs.double()
        if not isinstance(self.loss, nn.BCEWithLogitsLoss):
            return exact.softmax(dim=1)  # for log-softmax outputs this is the exponential
        if self._single_logit:
            return torch.cat([1 - exact.sigmoid(), exact.sigmoid()], dim=1)
        return nn.functional.normalize(exact.sigmoid(), p=1.0, dim=1)

    def own_scores(
        self, targets: Tensor, predictions: Tensor, probabilities: Callable[[], Tensor]
    ) -> dict[str, float]:
        """Return the scores of the user's metrics.

        Args:
            targets: (n, 1) values or (n,) class numbers.
            predictions: same shape as targets.
            probabilities: returns (n, classes); called only if a metric needs them.

        Raises:
            MlrunError: a metric failed.
        """
        needed = any(metric.takes_probabilities for metric in self.metrics)
        shares = probabilities() if needed else None
        found = {}
        for metric in self.metrics:  # copies, because a metric may change its arguments
            own = None if shares is None else shares.numpy().copy()
            truth, guess = (part.numpy().ravel().copy() for part in (targets, predictions))
            found[metric.name] = metric(truth, guess, own)
        return found

    def rehearse_metrics(self, targets: Tensor) -> None:
        """Try the user's metrics on the targets of the validation rows.

        Raises:
            MlrunError: a metric failed.
        """
        for metric in self.metrics:
            rehearse_metric(metric, targets.numpy().ravel().copy(), len(self.spec.classes))


def build_objective(values: Mapping[str, Any], spec: Spec) -> Objective:
    """Build the configured loss and metrics, and check that they fit the kind of task.

    Raises:
        MlrunError: the loss or a metric is for the other kind of task.
    """
    node, weight = without_weight(plain(values.get("loss")))
    if spec.kind in node:  # loss=auto has one loss per kind
        node = node[spec.kind]
    loss = build_node("loss", node, **weight_arguments(str(node.get("_target_")), weight, spec))
    if not isinstance(loss, LOSSES[spec.kind]) and not _is_own(loss):
        raise MlrunError(
            f"{type(loss).__name__} does not fit a {spec.kind} task (target '{spec.target}'); "
            f"use loss={SUGGESTED[spec.kind]}"
        )
    reduction = getattr(loss, "reduction", "mean")  # the user's own loss may have none
    if reduction != "mean":
        raise MlrunError(f"loss.reduction={reduction}: must be mean, the default")
    return Objective(loss, spec, build_metrics(values, spec))


def _is_own(loss: nn.Module) -> bool:
    """Whether the loss is the user's own class, which may be for either kind of task."""
    return not type(loss).__module__.startswith("torch.") and not isinstance(
        loss, (*LOSSES[REGRESSION], *LOSSES[CLASSIFICATION])
    )


def penalty(model: nn.Module, *, l1: float, l2: float) -> Tensor:
    """Return l1 * sum |w| + l2 * sum w² over weights, without biases and norm layers."""
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    total = sum(l1 * w.abs().sum() + l2 * w.square().sum() for w in weights)
    return torch.as_tensor(total)
