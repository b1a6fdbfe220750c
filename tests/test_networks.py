"""Multilayer perceptrons start as their papers say, and every option of theirs does what it says."""

import pytest
import torch
from torch import nn

from metarl.errors import ConfigError
from metarl.networks import CosineHead, mlp


def layers(network):
    return [layer for layer in network if isinstance(layer, nn.Linear)]


def test_it_alternates_linear_layers_and_activations_and_ends_linear():
    network = mlp(2, 3, (5, 4), "tanh")
    assert [type(layer) for layer in network] == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear]
    assert [(layer.in_features, layer.out_features) for layer in layers(network)] == [(2, 5), (5, 4), (4, 3)]
    assert [type(layer) for layer in mlp(2, 3, ())] == [nn.Linear]


@pytest.mark.parametrize(("activation", "layer"), [("relu", nn.ReLU), ("tanh", nn.Tanh), ("elu", nn.ELU)])
def test_its_activation(activation, layer):
    assert type(mlp(1, 1, (2,), activation)[1]) is layer


@pytest.mark.parametrize(
    ("init", "bound", "deviation"),
    [
        ("glorot", (6 / 300) ** 0.5, (2 / 300) ** 0.5),  # uniform, bounded by the root of 6 / (fan in + fan out)
        ("truncated-normal", 0.02, 0.0088),  # a normal cut at two deviations has 0.880 of its deviation left
        ("torch", 200**-0.5, (3 * 200) ** -0.5),  # uniform, bounded by the root of 1 / fan in
    ],
)
def test_its_weights_start_as_the_papers_say(init, bound, deviation):
    torch.manual_seed(0)
    weight, bias = mlp(200, 100, (), init=init)[0].parameters()
    assert 0.98 * bound < weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert abs(weight.mean().item()) < 4 * deviation / 20000**0.5
    assert not bias.any()


def test_the_output_gain_scales_the_last_layer_alone():
    networks = []
    for gain in (1.0, 0.25):
        torch.manual_seed(0)
        networks.append(layers(mlp(3, 2, (4,), output_gain=gain)))
    (first, last), (same, scaled) = networks
    assert torch.equal(first.weight, same.weight)
    assert torch.equal(0.25 * last.weight, scaled.weight)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((2, 1, (3,), "rleu"), "activation='rleu' is not known: did you mean 'relu'"),
        ((2, 1, (3,), "relu", "glorto"), "init='glorto' is not known: did you mean 'glorot'"),
        ((0, 1, (3,)), "inputs=0 must be above zero"),
        ((2, 0, (3,)), "outputs=0 must be above zero"),
        ((2, 1, (3, -1)), r"hidden\[1\]=-1 must be above zero"),
    ],
)
def test_bad_arguments_are_named(arguments, says):
    with pytest.raises(ConfigError, match=says):
        mlp(*arguments)


def test_a_cosine_head_by_hand():
    head = CosineHead(2, 3, scale=5.0)
    head.load_state_dict({"weight": torch.tensor([[2.0, 0.0], [0.0, 0.1], [-3.0, -4.0]])})
    torch.testing.assert_close(head(torch.tensor([[3.0, 4.0]])), 5 * torch.tensor([[0.6, 0.8, -1.0]]), rtol=1e-3, atol=1e-3)
    assert CosineHead(2, 3).scale == 2
    with pytest.raises(ConfigError, match="scale=0 must be above zero"):
        CosineHead(2, 3, scale=0)
