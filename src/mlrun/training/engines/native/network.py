"""Translate torch's objects into the kernel's plan; reject what the kernel does not support."""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop

from mlrun.config.schema import Trainer
from mlrun.models.dropout import Dropout
from mlrun.training.engines.native import interface
from mlrun.training.types import Learner


class Unsupported(Exception):
    """The kernel does not support a part of the run; the message names it."""


# Exact class → name in the kernel, and the settings that its formula requires.
ACTIVATIONS: dict[type[nn.Module], tuple[str, Mapping[str, Any]]] = {
    nn.Identity: ("identity", {}),
    nn.ReLU: ("relu", {}),
    nn.LeakyReLU: ("leaky_relu", {"negative_slope": 0.01}),
    nn.Tanh: ("tanh", {}),
    nn.Sigmoid: ("sigmoid", {}),
    nn.ELU: ("elu", {"alpha": 1.0}),
    nn.SiLU: ("silu", {}),
    nn.GELU: ("gelu", {"approximate": "none"}),
}
# Class → name in the kernel, its setting, and the settings that its formula requires.
LOSSES: dict[type[nn.Module], tuple[str, str | None, Mapping[str, Any]]] = {
    nn.MSELoss: ("mse", None, {}),
    nn.L1Loss: ("mae", None, {}),
    nn.HuberLoss: ("huber", "delta", {}),
    nn.SmoothL1Loss: ("smooth_l1", "beta", {}),
    nn.CrossEntropyLoss: (
        "cross_entropy",
        "label_smoothing",
        {"weight": None, "ignore_index": -100},
    ),
    nn.BCEWithLogitsLoss: ("bce_with_logits", None, {"weight": None, "pos_weight": None}),
}
# Class → name in the kernel, torch's names of its moments, and the settings that it requires.
OPTIMIZERS: dict[type[Optimizer], tuple[str, tuple[str, ...], Mapping[str, Any]]] = {
    SGD: ("sgd", ("momentum_buffer",), {"dampening": 0, "maximize": False}),
    Adam: ("adam", ("exp_avg", "exp_avg_sq"), {"amsgrad": False, "maximize": False}),
    AdamW: ("adamw", ("exp_avg", "exp_avg_sq"), {"amsgrad": False, "maximize": False}),
    RMSprop: ("rmsprop", ("square_avg", "momentum_buffer"), {"centered": False, "maximize": False}),
    Adagrad: ("adagrad", ("sum",), {"maximize": False}),
}


@dataclass(frozen=True)
class Network:
    """A multilayer perceptron: layer sizes, activation, dropout and parameters."""

    sizes: tuple[int, ...]  # inputs, hidden layers, outputs
    activation: str
    dropout: float
    parameters: tuple[nn.Parameter, ...]  # per layer: the weight (outputs, inputs), the bias

    @property
    def multiply_adds(self) -> int:
        """Number of multiply-adds in the forward pass of one row."""
        return sum(a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False))


def network_of(model: nn.Module) -> Network:
    """Return the model as a network: linear layers with the same activation and dropout.

    Raises:
        Unsupported: the model has other layers.
    """
    layers = list(model) if _is_chain(model) else [model]
    layers = layers[1:] if type(layers[0]) is nn.Flatten else layers
    known = (nn.Linear, Dropout, *ACTIVATIONS)
    if unknown := [type(layer).__name__ for layer in layers if type(layer) not in known]:
        raise Unsupported(f"the kernel does not support {unknown[0]}")
    *hidden, last = layers
    period = len(hidden) // max(1, sum(type(layer) is nn.Linear for layer in hidden)) or 1
    blocks = [hidden[start : start + period] for start in range(0, len(hidden), period)]
    linears: list[Any] = [*(block[0] for block in blocks), last]
    if len({repr(block[1:]) for block in blocks}) > 1 or {*map(type, linears)} != {nn.Linear}:
        raise Unsupported("its hidden layers differ")
    activation, dropout = _between(blocks[0][1:] if blocks else [])
    parameters = [p for linear in linears for p in (linear.weight, linear.bias)]
    if not all(map(_is_plain, parameters)):
        raise Unsupported("not all of its weights are float32, on the CPU and trainable")
    sizes = (linears[0].in_features, *(linear.out_features for linear in linears))
    return Network(sizes, activation, dropout, tuple(parameters))


def _is_chain(model: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether the model applies its layers in order; a subclass may do something else."""
    return isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward


def _between(layers: Sequence[nn.Module]) -> tuple[str, float]:
    """Return the activation and the dropout share after a hidden layer."""
    activation, *dropouts = layers or [nn.Identity()]
    share = dropouts[0].share if dropouts and isinstance(dropouts[0], Dropout) else 0.0
    if type(activation) not in ACTIVATIONS or len(dropouts) != bool(share):
        raise Unsupported("its layers are not linear, activation, dropout, linear …")
    name, given = ACTIVATIONS[type(activation)]
    _check(vars(activation), given)
    return name, share


def _is_plain(parameter: Any) -> bool:
    plain = isinstance(parameter, Tensor) and parameter.dtype == torch.float32
    return plain and parameter.requires_grad and parameter.device.type == "cpu"


def plan_of(network: Network) -> interface.NetworkPlan:
    """Return the part of the plan that computing outputs needs."""
    return interface.NetworkPlan(
        layers=len(network.sizes) - 1,
        sizes=(ctypes.c_int64 * len(network.sizes))(*network.sizes),
        activation=interface.ACTIVATIONS.index(network.activation),
        dropout=network.dropout,
    )


def training_plan(network: Network, learner: Learner, trainer: Trainer) -> interface.NetworkPlan:
    """Return the complete plan for training.

    Raises:
        Unsupported: the kernel does not support the loss, the optimizer or a setting.
    """
    plan = plan_of(network)
    _add_loss(plan, learner.objective.loss)
    _add_optimizer(plan, learner.optimizer)
    used = {"precision=bf16": trainer.precision != "32", "profile": trainer.profile}
    if unsupported := [key for key, on in (used | {"compile": trainer.compile}).items() if on]:
        raise Unsupported(f"the kernel does not support trainer.{unsupported[0]}")
    plan.l1, plan.l2 = trainer.l1, trainer.l2
    plan.clip_norm, plan.clip_value = trainer.clip_norm or 0.0, trainer.clip_value or 0.0
    return plan


def _add_loss(plan: interface.NetworkPlan, loss: nn.Module) -> None:
    if type(loss) not in LOSSES:
        raise Unsupported(f"the kernel does not support {type(loss).__name__}")
    name, setting, given = LOSSES[type(loss)]
    _check({key: getattr(loss, key) for key in given}, given)
    plan.loss = interface.LOSSES.index(name)
    plan.loss_setting = getattr(loss, setting) if setting else 0.0


def _add_optimizer(plan: interface.NetworkPlan, optimizer: Optimizer) -> None:
    if type(optimizer) not in OPTIMIZERS or len(optimizer.param_groups) != 1:
        raise Unsupported(f"the kernel does not support {type(optimizer).__name__}")
    name, _, given = OPTIMIZERS[type(optimizer)]
    group = optimizer.param_groups[0]
    _check(group, given)
    plan.optimizer = interface.OPTIMIZERS.index(name)
    plan.moments = len(kept_moments(optimizer))
    plan.weight_decay = group["weight_decay"]
    plan.nesterov = group.get("nesterov", False)
    plan.beta2 = group["betas"][1] if "betas" in group else group.get("alpha", 0.0)
    plan.epsilon = group.get("eps", 1.0)
    plan.rate_decay = group.get("lr_decay", 0.0)
    if plan.epsilon <= 0:
        raise Unsupported("the kernel does not support optimizer.eps=0")


def kept_moments(optimizer: Optimizer) -> tuple[str, ...]:
    """Return torch's names of the moments that this optimizer keeps for each parameter."""
    _, names, _ = OPTIMIZERS[type(optimizer)]
    without_momentum = optimizer.param_groups[0].get("momentum") == 0
    return tuple(name for name in names if not (without_momentum and name == "momentum_buffer"))


def _check(settings: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    for key, value in given.items():
        if isinstance(settings[key], Tensor):
            raise Unsupported(f"the kernel does not support a loss with {key}")
        if settings[key] != value:
            raise Unsupported(f"the kernel does not support {key}={settings[key]}")
