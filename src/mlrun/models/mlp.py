"""Multilayer perceptron."""

import math
from collections.abc import Sequence

from torch import nn

from mlrun.models.layers import (
    NORMS,
    check_choice,
    check_dropout,
    check_sizes,
    hidden_layer,
    initialise,
)


class MLP(nn.Sequential):
    """Per hidden size: linear, norm, activation, dropout; then (n, out_features) raw outputs.

    Raises:
        MlrunError: a size is below 1, dropout is outside [0, 1), or a name is unknown.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_features: int,
        *,
        hidden: Sequence[int],
        activation: str,
        dropout: float,
        norm: str,
        init: str,
    ) -> None:
        check_sizes("hidden", hidden)
        check_dropout(dropout)
        check_choice("norm", norm, NORMS)
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(in_shape)
        for size in hidden:
            layers += hidden_layer(width, size, activation=activation, norm=norm, dropout=dropout)
            width = size
        super().__init__(*layers, nn.Linear(width, out_features))
        initialise(self, init)
