"""Find the layers of a network by passing one row through it."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """One layer: class, output shape for a row, number of parameters and multiply-adds."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def layers_of(model: nn.Module, row: Tensor) -> list[Layer]:
    """Return the layers in execution order; `row` has shape (1, *in_shape)."""
    layers: list[Layer] = []

    def note(layer: nn.Module, _: object, output: Tensor) -> None:
        parameters = sum(p.numel() for p in layer.parameters())
        work = 0
        if isinstance(layer, nn.Linear | nn.Conv2d):
            work = layer.weight[0].numel() * output.numel()
        layers.append(Layer(type(layer).__name__, tuple(output.shape[1:]), parameters, work))

    leaves = [module for module in model.modules() if not list(module.children())]
    hooks = [leaf.register_forward_hook(note) for leaf in leaves]
    model.eval()
    with torch.inference_mode():
        model(row)
    for hook in hooks:
        hook.remove()
    return layers
