"""The bias transformation: the same functions, and an inner step of the bias that is as derived by hand."""

import pytest
import torch
from torch import nn

import metarl
from metarl.errors import ConfigError
from metarl.networks import BiasTransformation, mlp
from metarl.supervised.networks import conv4, regressor
from tests.worlds import gathered

SINE = {"hidden": (), "init": "torch", "bias_transformation": 3}


def test_it_puts_its_vector_after_each_input():
    layer = BiasTransformation(2)
    assert layer.vector.tolist() == [0, 0]
    layer.load_state_dict({"vector": torch.tensor([5.0, 6.0])})
    assert layer(torch.tensor([[1.0], [2.0]])).tolist() == [[1, 5, 6], [2, 5, 6]]


@pytest.mark.parametrize("start", [0.0, 0.7], ids=["from nought", "from elsewhere"])
def test_an_inner_step_moves_the_bias_as_derived_by_hand(start):
    rate = 0.25
    agent = metarl.MAML("MLP", "metarl/Sine-v0", policy_kwargs=SINE, rate=rate, meta_batch=1, dtype="float64", device="cpu")
    generator = torch.Generator().manual_seed(0)
    names = agent.adapter.learner.layout.unflatten(agent.meta["theta"])
    w, z, b = names["1.weight"], names["0.vector"], names["1.bias"]
    z += start * torch.randn(z.shape, generator=generator, dtype=torch.float64)  # views: theta itself moves
    b += 0.3
    support = gathered(agent).experiences[0]
    x, y = support.inputs[0, :, 0], support.targets[0, :, 0]
    w_1, w_2 = w[0, 0], w[0, 1:]
    bias = w_2 @ z + b
    residuals = 2 * (w_1 * x + bias - y) / len(x)
    delta, by_w_1 = residuals.sum(), (residuals * x).sum()
    expected = bias - rate * (1 + z @ z + w_2 @ w_2) * delta + rate**2 * delta * (w_2 @ z) * delta
    after = agent.adapter.learner.layout.unflatten(agent.adapter.replay(agent.meta, [support], 1)[0][0])
    moved = after["1.weight"][0, 1:] @ after["0.vector"] + after["1.bias"]
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(after["1.weight"][0, 0], w_1 - rate * by_w_1, rtol=0, atol=1e-12)
    assert not torch.allclose(moved, bias - rate * delta, atol=1e-3), "without it the bias would go here"


def test_several_outputs_have_a_matrix_in_place_of_the_square():
    layer, rate, generator = mlp(2, 3, (), bias_transformation=4).double(), 0.1, torch.Generator().manual_seed(0)
    z, w, b = layer.parameters()
    with torch.no_grad():
        z += torch.randn(4, generator=generator)
    x, delta = (torch.randn(size, generator=generator, dtype=torch.float64) for size in (2, 3))
    w_2, bias = w[:, 2:].detach(), (w[:, 2:] @ z + b).detach()
    (layer(x) @ delta).backward()
    step = [(value - rate * value.grad).detach() for value in (z, w, b)]
    moved = step[1][:, 2:] @ step[0] + step[2]
    factor = (1 + (z @ z).detach()) * torch.eye(3, dtype=torch.float64) + w_2 @ w_2.T
    expected = bias - rate * factor @ delta + rate**2 * (delta @ w_2 @ z.detach()) * delta
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)


MAKE = {
    "mlp": lambda **options: mlp(2, 3, (4,), **options),
    "regressor": lambda **options: regressor((1,), 1, (4,), **options),
    "features": lambda **options: regressor((1,), 1, (4, 3), head="none", **options),
    "conv4": lambda **options: conv4((1, 16, 16), 5, filters=2, hidden=3, **options),
}


@pytest.mark.parametrize("name", MAKE)
def test_of_size_nought_nothing_changes(name):
    networks = []
    for options in ({}, {"bias_transformation": 0}):
        torch.manual_seed(0)
        networks.append(MAKE[name](**options))
    plain, same = (network.state_dict() for network in networks)
    assert plain.keys() == same.keys()
    assert all(torch.equal(value, same[key]) for key, value in plain.items())
    assert [str(network) for network in networks[:1]] == [str(network) for network in networks[1:]]


@pytest.mark.parametrize("name", MAKE)
def test_a_network_by_name_has_it_before_one_layer(name):
    network = MAKE[name](bias_transformation=6)
    layers = list(network)
    (place,) = [i for i, layer in enumerate(layers) if isinstance(layer, BiasTransformation)]
    assert layers[place].vector.shape == (6,)
    after = layers[place + 1]
    assert isinstance(after, nn.Linear)
    assert after.in_features == {"mlp": 2, "regressor": 1, "features": 1, "conv4": 3}[name] + 6
    assert place == (len(layers) - 2 if name == "conv4" else 0)


def test_policies_have_it_by_name_too():
    agent = metarl.MAML("MlpPolicy", "tests/Navigation2D-v0", policy_kwargs={"hidden": (4,), "bias_transformation": 2})
    shapes = agent.adapter.learner.shapes
    assert shapes["network.0.vector"] == (2,)
    assert shapes["network.1.weight"] == (4, 2 + 2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: mlp(1, 1, (), bias_transformation=-1), "bias_transformation=-1 must be a whole number, 0 for none"),
        (lambda: mlp(1, 1, (), bias_transformation=1.5), "bias_transformation=1.5 must be a whole number"),
        (lambda: conv4((1, 16, 16), 5, bias_transformation=True), "bias_transformation=True must be a whole number"),
        (lambda: conv4((1, 16, 16), 5, head="none", bias_transformation=2), "a linear head's bias, and head='none' has none"),
        (lambda: conv4((1, 16, 16), 5, head="cosine", bias_transformation=2), "and head='cosine' has none"),
        (lambda: BiasTransformation(0), "bias_transformation=0 must be above zero"),
    ],
)
def test_sizes_that_cannot_be_are_named(make, says):
    with pytest.raises(ConfigError, match=says):
        make()
