"""A small convolutional network: LeNet-5 with modern layers."""

from collections.abc import Sequence

import torch
from torch import nn

from mlrun.errors import MlrunError
from mlrun.models.layers import (
    NORMS,
    build_activation,
    check_choice,
    check_dropout,
    check_sizes,
    hidden_layer,
    initialise,
)


class CNN(nn.Sequential):
    """Per entry of `channels`: convolution, norm, activation, 2x2 max-pooling; then an MLP head.

    Raises:
        MlrunError: the inputs are not images, or are too small for the number of poolings.
    """

    def __init__(
        self,
        in_shape: tuple[int, ...],
        out_features: int,
        *,
        channels: Sequence[int],
        kernel_size: int,
        hidden: Sequence[int],
        activation: str,
        dropout: float,
        norm: str,
        init: str,
    ) -> None:
        _check_images(in_shape, channels)
        check_sizes("channels", channels)
        check_sizes("hidden", hidden)
        check_dropout(dropout)
        check_choice("norm", norm, NORMS)
        super().__init__()
        _check_kernel(kernel_size)
        depth = in_shape[0]
        for size in channels:
            self.extend(_block(depth, size, kernel_size, activation=activation, norm=norm))
            depth = size
        self.append(nn.Flatten())
        height, width = (side >> len(channels) for side in in_shape[1:])
        inputs = depth * height * width
        for size in hidden:
            self.extend(
                hidden_layer(inputs, size, activation=activation, norm=norm, dropout=dropout)
            )
            inputs = size
        self.append(nn.Linear(inputs, out_features))
        initialise(self, init)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # 7 % faster


def _block(
    inputs: int, outputs: int, kernel_size: int, *, activation: str, norm: str
) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel_size, padding="same")]
    if norm == "batch":
        layers.append(nn.BatchNorm2d(outputs))
    return [*layers, build_activation(activation), nn.MaxPool2d(2)]


def _check_images(in_shape: tuple[int, ...], channels: Sequence[int]) -> None:
    if len(in_shape) != 3:
        raise MlrunError(
            "model=cnn needs images (channels, height, width); the inputs of this task have shape "
            f"{tuple(in_shape)}. Try model=mlp."
        )
    if min(in_shape[1:]) >> len(channels) < 1:
        raise MlrunError(
            f"model.channels={list(channels)}: {len(channels)} poolings are too many for images of "
            f"{in_shape[1]} x {in_shape[2]} pixels"
        )


def _check_kernel(size: int) -> None:
    if size < 1 or size % 2 == 0:
        raise MlrunError(f"model.kernel_size={size}: must be an odd integer")
