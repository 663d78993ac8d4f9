"""Export the weights as safetensors, with everything needed to rebuild the model."""

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from mlrun.config.build import build
from mlrun.config.recorded import from_the_record
from mlrun.export.torch_file import Facts, RawModel
from mlrun.runs.predictor import Predictor, check_plan
from mlrun.system.files import blamed_on


def to_bytes(predictor: Predictor, facts: Facts) -> bytes:
    """Return the content of a .safetensors file: weights, and `facts` in the header."""
    weights = {name: value.contiguous() for name, value in predictor.model.state_dict().items()}
    return save(weights, metadata=facts)


def load(path: str | Path) -> RawModel:
    """Build the model from a .safetensors file written by `mlrun export`.

    Raises:
        MlrunError: the file is unreadable or from elsewhere, or names a class that is not allowed.
    """
    path = Path(path)
    with blamed_on(path):
        texts, weights = _read(path)
        facts = {name: json.loads(texts[name]) for name in ("config", "spec", "contract")}
        values = from_the_record(facts["config"], path).values
        objective = check_plan(values, {"spec": facts["spec"], "weights": weights})
        shape, outputs = objective.spec.in_shape, objective.out_features
        model = objective.complete(build("model", values, in_shape=shape, out_features=outputs))
        model.load_state_dict(weights)
        return RawModel(facts["contract"], model, objective)


def _read(path: Path) -> tuple[Facts, dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return file.metadata() or {}, weights
