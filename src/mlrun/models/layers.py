"""Activations and initialisations by name, and checks of architecture settings."""

from collections.abc import Callable, Collection, Sequence

from torch import Tensor, nn
from torch.nn import init

from mlrun.errors import MlrunError, did_you_mean
from mlrun.models.dropout import Dropout

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "prelu": nn.PReLU,
    "rrelu": nn.RReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
INITIALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "uniform": lambda weight: init.uniform_(weight, -0.1, 0.1),
    "normal": lambda weight: init.normal_(weight, 0.0, 0.01),
    "zeros": init.zeros_,
    "ones": init.ones_,
    "constant": lambda weight: init.constant_(weight, 0.01),
    "kaiming_uniform": lambda weight: init.kaiming_uniform_(weight, nonlinearity="relu"),
    "kaiming_normal": lambda weight: init.kaiming_normal_(weight, nonlinearity="relu"),
    "xavier_uniform": init.xavier_uniform_,
    "xavier_normal": init.xavier_normal_,
}
NORMS = ("none", "batch")


def build_activation(name: str) -> nn.Module:
    """Return a new activation module.

    Raises:
        MlrunError: there is no activation with that name.
    """
    check_choice("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise MlrunError if `model.<name>` is not one of `choices`."""
    if value not in choices:
        hint = did_you_mean(str(value), choices)
        raise MlrunError(f"model.{name}={value}: must be one of {', '.join(choices)}.{hint}")


def initialise(model: nn.Module, name: str) -> None:
    """Initialise the weights of every linear and convolution layer; set their biases to zero.

    `default` keeps torch's initialisation, Kaiming uniform with a = sqrt(5).
    """
    if name == "default":
        return
    check_choice("init", name, ["default", *INITIALISATIONS])
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            INITIALISATIONS[name](layer.weight)
            if layer.bias is not None:
                init.zeros_(layer.bias)


def hidden_layer(
    inputs: int, outputs: int, *, activation: str, norm: str, dropout: float
) -> list[nn.Module]:
    """Return linear layer, optional batch norm, activation and optional dropout."""
    layers: list[nn.Module] = [nn.Linear(inputs, outputs)]
    if norm == "batch":
        layers.append(nn.BatchNorm1d(outputs))
    layers.append(build_activation(activation))
    if dropout:
        layers.append(Dropout(dropout))
    return layers


def check_sizes(name: str, sizes: Sequence[int]) -> None:
    """Raise MlrunError if a layer has no units."""
    if any(size < 1 for size in sizes):
        raise MlrunError(f"model.{name}={list(sizes)}: sizes must be integers above 0")


def check_dropout(dropout: float) -> None:
    """Raise MlrunError if `dropout` is outside [0, 1)."""
    if not 0 <= dropout < 1:
        raise MlrunError(f"model.dropout={dropout}: must be at least 0 and below 1")
