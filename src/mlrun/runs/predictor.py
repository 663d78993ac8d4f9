"""The predictor: a model with its preprocessing turns raw rows into scores and predictions.

Training, `evaluate` and `predict` all use it, so they give the same numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlrun.config.build import build, plain
from mlrun.config.recorded import from_the_record
from mlrun.config.schema import Settings, Trainer, settings_of
from mlrun.data.dataset import EXAMPLES, Dataset, Spec
from mlrun.data.preprocess.module import Contract, build_preprocess
from mlrun.data.rows import Rows
from mlrun.errors import MlrunError
from mlrun.runs.checkpoint import BEST_PARTS, State, load_state
from mlrun.runs.folder import RunFolder
from mlrun.system.device import choose_device
from mlrun.system.files import blamed_on
from mlrun.training.engines.choose import choose_outputs
from mlrun.training.loop import Scores, score_outputs
from mlrun.training.objective import Objective, build_objective
from mlrun.training.threads import set_threads
from mlrun.training.types import Features, Outputs


@dataclass(frozen=True)
class Predictor:
    """A model with its preprocessing."""

    model: nn.Module
    objective: Objective
    preprocess: nn.Module
    contract: Contract
    outputs_of: Outputs
    device: torch.device
    examples: Tensor  # a few raw validation rows, the input of `preprocess`

    @property
    def spec(self) -> Spec:
        """The spec of the data."""
        return self.objective.spec

    def features(self, rows: Rows) -> Features:
        """Preprocess rows with targets."""
        assert rows.targets is not None
        return Features(self._inputs(rows), rows.targets)

    def score(self, rows: Rows) -> Scores:
        """Compute loss, metrics and predictions for rows with targets."""
        assert rows.targets is not None
        return score_outputs(self.objective, self.outputs(rows), rows.targets)

    def predict(self, rows: Rows) -> Tensor:
        """Predict (n, 1) values in the target's unit or (n,) class numbers."""
        return self.objective.decode(self.outputs(rows))

    def outputs(self, rows: Rows) -> Tensor:
        """Compute the outputs of the network: (n, out_features)."""
        return self.outputs_of(self.model, self._inputs(rows))

    def _inputs(self, rows: Rows) -> Tensor:
        return rows.prepared(self.preprocess).to(self.device)


def scored_parts(dataset: Dataset, trainer: Trainer) -> dict[str, Rows]:
    """Return the parts of the data for scoring: train, valid and, with targets, test.

    With `limit_batches`, train has only as many rows as an epoch.
    """
    parts = dataset.parts
    if trainer.limit_batches is not None:
        seen = min(trainer.limit_batches * trainer.batch_size, len(dataset.train))
        parts["train"] = dataset.train.take(range(seen))
    return parts


def open_predictor(run: RunFolder) -> tuple[Predictor, Mapping[str, Any]]:
    """Rebuild the best model of a run, and its configuration, from the folder alone.

    Raises:
        MlrunError: the checkpoint is missing or damaged, or names a class that is not allowed.
    """
    state = load_state(run.best, parts=BEST_PARTS)
    values = from_the_record(state["config"], run.best).values
    settings = settings_of(values)
    device = choose_device("auto" if settings.device.startswith(("cuda", "mps")) else "cpu")
    with blamed_on(run.best):
        predictor = _rebuilt(values, settings, state, device)
        predictor.outputs(Rows(predictor.examples, None, []))  # check that everything fits
    return predictor, values


def _rebuilt(
    values: Mapping[str, Any], settings: Settings, state: State, device: torch.device
) -> Predictor:
    objective = check_plan(values, state)
    model = objective.complete(build("model", values, **_shape(objective)))
    model.load_state_dict(state["weights"])
    preprocess = build_preprocess(state["contract"])
    model, contract = model.to(device), state["contract"]
    if not 1 <= len(state["examples"]) <= EXAMPLES:
        raise MlrunError(f"it must have 1 to {EXAMPLES} examples")
    outputs_of = choose_outputs(model, settings.trainer)
    predictor = Predictor(
        model, objective, preprocess, contract, outputs_of, device, state["examples"]
    )
    set_threads(model, objective.spec, settings.trainer.batch_size)
    return predictor


def check_plan(values: Mapping[str, Any], state: State) -> Objective:
    """Compare the weights of a checkpoint with the model of its configuration.

    The model is planned without allocating memory: a configuration may request terabytes.

    Raises:
        MlrunError: they do not match.
    """
    objective = build_objective(values, Spec.from_record(state["spec"], "the data spec"))
    lists = [value for value in plain(values["model"]).values() if isinstance(value, list)]
    longest = max(map(len, lists), default=0)
    if longest > len(state["weights"]):
        raise MlrunError(
            f"its model has {longest} layers, but there are {len(state['weights'])} weights"
        )
    with torch.device("meta"):
        planned = objective.complete(build("model", values, **_shape(objective)))
    check_weights(planned.state_dict(), state["weights"])
    return objective


def _shape(objective: Objective) -> dict[str, Any]:
    return {"in_shape": objective.spec.in_shape, "out_features": objective.out_features}


def check_weights(planned: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Check names, shapes and types of weights.

    Raises:
        MlrunError: naming the first weight that does not match.
    """
    if {*planned} != {*weights}:
        odd = sorted({*planned} ^ {*weights})[0]
        raise MlrunError(f"the checkpoint's weights do not match its model: '{odd}'")
    for name, tensor in weights.items():
        if not isinstance(tensor, Tensor):
            raise MlrunError(f"the checkpoint's weights are not numbers: '{name}'")
        if tensor.shape != planned[name].shape or tensor.dtype != planned[name].dtype:
            raise MlrunError(f"the checkpoint's weights do not match its model: '{name}'")
