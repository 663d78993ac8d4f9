"""How many CPU threads a model's steps are worth."""

import torch
from torch import nn

from mlrun.data.dataset import Spec
from mlrun.models.summary import layers_of
from mlrun.system.device import choose_threads


def set_threads(model: nn.Module, spec: Spec, batch_size: int) -> int:
    """Let torch use as many CPU threads as a training step of this model is worth."""
    device = next(model.parameters()).device
    row = torch.zeros(1, *spec.in_shape, device=device)
    work = sum(layer.multiply_adds for layer in layers_of(model, row))
    threads = choose_threads(3 * work * batch_size)  # forward, and backward at twice its cost
    torch.set_num_threads(threads)
    return threads
