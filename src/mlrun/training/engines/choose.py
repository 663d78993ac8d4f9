"""Choose the engine for a model, and the function that computes its outputs."""

from collections.abc import Callable

from torch import nn

from mlrun.config.schema import Trainer
from mlrun.errors import MlrunError
from mlrun.training.distributed import process_group
from mlrun.training.engines.autograd import Autograd, outputs_by_torch
from mlrun.training.engines.base import Engine
from mlrun.training.engines.native import compiler, library
from mlrun.training.engines.native.compiler import Unavailable
from mlrun.training.engines.native.engine import Native, outputs_by_kernel
from mlrun.training.engines.native.network import Unsupported, network_of, training_plan
from mlrun.training.types import Learner, Outputs


def choose_engine(learner: Learner, trainer: Trainer) -> tuple[Engine, str]:
    """Return the engine, and the reason if it is not the native engine.

    Raises:
        MlrunError: `trainer.engine=native` or `trainer.compile` is impossible here.
    """
    reason = "trainer.engine=autograd"
    if process_group().size > 1:
        reason = f"{process_group().size} processes train together"
    elif trainer.engine != "autograd":
        reason = _why_not(lambda: training_plan(network_of(learner.model), learner, trainer))
    if not (reason := reason or _why_not(library.load_kernel)):
        return Native(), ""
    if trainer.engine == "native":
        raise MlrunError(
            f"trainer.engine=native: {reason}; trainer.engine=auto uses the autograd engine"
        )
    if trainer.compile and process_group().size > 1:
        raise MlrunError(
            "trainer.compile=true: works in one process only; set trainer.compile=false"
        )
    if trainer.compile and (lacking := _why_not(compiler.command)):
        raise MlrunError(f"trainer.compile=true: {lacking}; set trainer.compile=false")
    return Autograd(), reason


def choose_outputs(model: nn.Module, trainer: Trainer) -> Outputs:
    """Return the function for the model's outputs, for a run and for its opened folder."""
    plain = trainer.engine != "autograd" and trainer.precision == "32"
    if plain and not _why_not(lambda: network_of(model)) and not _why_not(library.load_kernel):
        return outputs_by_kernel
    return lambda model, inputs: outputs_by_torch(model, inputs, trainer.precision)


def kernel_built(outputs: Outputs) -> dict[str, str] | None:
    """Return how the kernel that computes these outputs was built; None if torch computes them.

    The native engine trains only models whose outputs the kernel computes.
    """
    return library.built() if outputs is outputs_by_kernel else None


def _why_not(look: Callable[[], object]) -> str:
    """Return the reason why the kernel cannot do this, or an empty string."""
    try:
        look()
    except (Unsupported, Unavailable) as error:
        return str(error)
    return ""
