"""Linear, logistic and softmax regression: the loss makes the difference."""

import math

from torch import nn

from mlrun.models.layers import initialise


class Linear(nn.Sequential):
    """One affine map (n, *in_shape) → (n, out_features)."""

    def __init__(self, in_shape: tuple[int, ...], out_features: int, *, init: str) -> None:
        super().__init__(nn.Flatten(), nn.Linear(math.prod(in_shape), out_features))
        initialise(self, init)
