"""Linear, logistic and softmax regression; which one it is depends on the loss."""

import math

from torch import nn

from mlrun.models.layers import initialise


class Linear(nn.Sequential):
    """One linear layer, (n, *in_shape) → (n, out_features)."""

    def __init__(self, in_shape: tuple[int, ...], out_features: int, *, init: str) -> None:
        super().__init__(nn.Flatten(), nn.Linear(math.prod(in_shape), out_features))
        initialise(self, init)
