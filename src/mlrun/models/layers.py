"""Activations and initialisations, by the names people type."""

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
    """A fresh activation module.

    Raises:
        MlrunError: no activation of that name.
    """
    check("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]()


def check(name: str, value: str, choices: Collection[str]) -> None:
    """Refuse a value of `model.<name>` that is not one of `choices`."""
    if value not in choices:
        hint = did_you_mean(str(value), choices)
        raise MlrunError(f"model.{name}={value}: one of {', '.join(choices)}.{hint}")


def initialise(model: nn.Module, name: str) -> None:
    """Fill the weights of every linear and convolution layer; their biases become zero.

    `default` leaves torch's own, Kaiming uniform with a = sqrt(5).
    """
    if name == "default":
        return
    check("init", name, ["default", *INITIALISATIONS])
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            INITIALISATIONS[name](layer.weight)
            if layer.bias is not None:
                init.zeros_(layer.bias)


def hidden_layer(
    inputs: int, outputs: int, *, activation: str, norm: str, dropout: float
) -> list[nn.Module]:
    """Linear, batch norm if asked for, activation, dropout if any."""
    layers: list[nn.Module] = [nn.Linear(inputs, outputs)]
    if norm == "batch":
        layers.append(nn.BatchNorm1d(outputs))
    layers.append(build_activation(activation))
    if dropout:
        layers.append(Dropout(dropout))
    return layers


def check_sizes(name: str, sizes: Sequence[int]) -> None:
    """Refuse a layer without units."""
    if any(size < 1 for size in sizes):
        raise MlrunError(f"model.{name}={list(sizes)}: whole numbers above 0 are wanted")


def check_dropout(dropout: float) -> None:
    """Refuse a share outside [0, 1)."""
    if not 0 <= dropout < 1:
        raise MlrunError(f"model.dropout={dropout}: must be at least 0 and below 1")
