"""The networks."""

from typing import Any

import pytest
import torch
from torch import nn

from mlrun.errors import MlrunError
from mlrun.models.cnn import CNN
from mlrun.models.layers import ACTIVATIONS, INITIALISATIONS
from mlrun.models.linear import Linear
from mlrun.models.mlp import MLP
from mlrun.models.summary import layers_of

PLAIN: dict[str, Any] = {"activation": "relu", "dropout": 0.0, "norm": "none", "init": "default"}


def mlp(in_shape=(5,), out_features=3, **changes):
    return MLP(in_shape, out_features, **({"hidden": [4]} | PLAIN | changes))


def cnn(in_shape=(1, 12, 12), out_features=3, **changes):
    defaults: dict[str, Any] = {"channels": [2, 3], "kernel_size": 3, "hidden": [8]} | PLAIN
    return CNN(in_shape, out_features, **(defaults | changes))


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (mlp(), (5,)),
        (mlp((1, 4, 4)), (1, 4, 4)),
        (mlp(hidden=[]), (5,)),
        (mlp(norm="batch", dropout=0.5), (5,)),
        (Linear((5,), 3, init="default"), (5,)),
        (Linear((1, 4, 4), 3, init="zeros"), (1, 4, 4)),
        (cnn(), (1, 12, 12)),
        (cnn((3, 9, 7), norm="batch", dropout=0.5, hidden=[]), (3, 9, 7)),
    ],
)
def test_outputs_have_a_row_each_and_gradients_reach_every_parameter(model, shape):
    outputs = model(torch.randn(6, *shape))
    outputs.square().sum().backward()
    assert outputs.shape == (6, 3)
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_makes_a_working_network(name):
    assert torch.isfinite(mlp(activation=name)(torch.randn(6, 5))).all()


@pytest.mark.parametrize("name", INITIALISATIONS)
def test_every_initialisation_fills_weights_and_clears_biases(name):
    model = mlp(init=name, hidden=[64])
    layer = next(m for m in model.modules() if isinstance(m, nn.Linear))
    assert layer.bias is not None
    assert not layer.bias.any()
    constant = {"zeros": 0.0, "ones": 1.0, "constant": 0.01}
    if name in constant:
        assert torch.equal(layer.weight, torch.full_like(layer.weight, constant[name]))
    else:
        assert layer.weight.std() > 0


def test_the_default_initialisation_is_torchs():
    torch.manual_seed(0)
    ours = mlp(hidden=[])[1].weight
    torch.manual_seed(0)
    assert torch.equal(ours, nn.Linear(5, 3).weight)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mlp(hidden=[0]), r"model\.hidden=\[0\]"),
        (lambda: mlp(dropout=1.0), r"model\.dropout=1\.0"),
        (lambda: mlp(norm="batsh"), r"Did you mean 'batch'\?"),
        (lambda: mlp(activation="rellu"), r"Did you mean 'relu'\?"),
        (lambda: mlp(init="kaiming"), r"Did you mean 'kaiming_\w+'\?"),
        (lambda: cnn((20,)), r"needs images .* \(20,\)\. Try model=mlp"),
        (lambda: cnn((1, 2, 2)), r"2 poolings are too many"),
        (lambda: cnn(kernel_size=4), r"model\.kernel_size=4: must be an odd"),
    ],
)
def test_a_wrong_setting_is_named(make, message):
    with pytest.raises(MlrunError, match=message):
        make()


def test_the_summary_lists_layers_in_order_with_shapes_and_work():
    layers = layers_of(mlp(), torch.zeros(1, 5))
    assert [layer.name for layer in layers] == ["Flatten", "Linear", "ReLU", "Linear"]
    assert [layer.parameters for layer in layers] == [0, 24, 0, 15]
    assert [layer.multiply_adds for layer in layers] == [0, 20, 0, 12]
    assert layers[-1].shape == (3,)
