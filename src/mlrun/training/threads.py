"""Choose the number of CPU threads for a model."""

import torch
from torch import nn

from mlrun.data.dataset import Spec
from mlrun.models.summary import layers_of
from mlrun.system.device import choose_threads


def set_threads(model: nn.Module, spec: Spec, batch_size: int) -> int:
    """Set torch's CPU threads for the training steps of this model; return their number."""
    device = next(model.parameters()).device
    row = torch.zeros(1, *spec.in_shape, device=device)
    work = sum(layer.multiply_adds for layer in layers_of(model, row))
    threads = choose_threads(
        3 * work * batch_size
    )  # the backward pass costs twice the forward pass
    torch.set_num_threads(threads)
    return threads
