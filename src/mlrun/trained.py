"""A model with its preprocessing: raw rows in, scores and predictions out.

Training ends with one, and `evaluate` and `predict` rebuild one from a run folder, so both give
the same numbers.
"""

from dataclasses import dataclass

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from mlrun.build import build
from mlrun.checkpoint import load
from mlrun.config import Trainer, settings_of
from mlrun.data.preprocess import Contract, build_preprocess
from mlrun.data.spec import Dataset, Rows, Spec
from mlrun.device import choose_device, choose_threads
from mlrun.errors import MlrunError
from mlrun.loop import Features, Scores, evaluate, outputs_of
from mlrun.models.summary import layers_of
from mlrun.objective import Objective, build_objective
from mlrun.run_folder import RunFolder


@dataclass(frozen=True)
class Trained:
    """What turns raw rows into predictions."""

    model: nn.Module
    objective: Objective
    preprocess: nn.Module
    contract: Contract
    precision: str
    device: torch.device
    examples: Tensor  # a few raw rows of the data it was validated on, as `preprocess` takes them

    @property
    def spec(self) -> Spec:
        """What the data looked like."""
        return self.objective.spec

    def features(self, rows: Rows) -> Features:
        """Rows ready for the model; they must have targets."""
        assert rows.targets is not None
        return Features(self._inputs(rows), rows.targets)

    def score(self, rows: Rows) -> Scores:
        """Loss, metrics and predictions of rows that have targets."""
        return evaluate(self.model, self.objective, self.features(rows), self.precision)

    def predict(self, rows: Rows) -> Tensor:
        """(n, 1) values in the target's unit or (n,) class numbers."""
        return self.objective.decode(self.outputs(rows))

    def outputs(self, rows: Rows) -> Tensor:
        """What the network says: (n, out_features)."""
        return outputs_of(self.model, self._inputs(rows), self.precision)

    def _inputs(self, rows: Rows) -> Tensor:
        inputs: Tensor = self.preprocess(rows.inputs)
        return inputs.to(self.device)


def scored_parts(dataset: Dataset, trainer: Trainer) -> dict[str, Rows]:
    """The parts of the data a run is scored on: train, valid and, with targets, test.

    Where `limit_batches` cuts the epochs short, as many training rows as an epoch has.
    """
    parts = dataset.parts
    if trainer.limit_batches is not None:
        seen = min(trainer.limit_batches * trainer.batch_size, len(dataset.train))
        parts["train"] = dataset.train.take(range(seen))
    return parts


def open_trained(run: RunFolder) -> tuple[Trained, DictConfig]:
    """Rebuild the best model of a run, and its configuration, from the folder alone.

    Raises:
        MlrunError: no checkpoint, a damaged one, or one that names what may not be built.
    """
    state = load(run.best)
    try:
        config = DictConfig(state["config"])
        spec = Spec.from_record(state["spec"])
        settings = settings_of(config)
        objective = build_objective(config, spec)
        model = build("model", config, in_shape=spec.in_shape, out_features=objective.out_features)
        model = objective.complete(model)
        model.load_state_dict(state["weights"])
        preprocess = build_preprocess(state["contract"])
    except (KeyError, TypeError, RuntimeError, AttributeError) as error:
        raise MlrunError(f"{run.best} does not hold a whole model: {error}") from error
    device = choose_device("auto" if settings.device.startswith(("cuda", "mps")) else "cpu")
    precision = settings.trainer.precision
    trained = Trained(
        model.to(device),
        objective,
        preprocess,
        state["contract"],
        precision,
        device,
        state["examples"],
    )
    set_threads(trained.model, spec, settings.trainer.batch_size)
    return trained, config


def set_threads(model: nn.Module, spec: Spec, batch_size: int) -> int:
    """Let torch use as many CPU threads as a training step of this model is worth."""
    device = next(model.parameters()).device
    row = torch.zeros(1, *spec.in_shape, device=device)
    work = sum(layer.multiply_adds for layer in layers_of(model, row))
    threads = choose_threads(3 * work * batch_size)  # forward, and backward at twice its cost
    torch.set_num_threads(threads)
    return threads
