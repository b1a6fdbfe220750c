"""A module as a function of theta."""

import copy

import pytest
import torch
from torch import nn

from metarl import Learner
from metarl.adapters.base import shared
from metarl.errors import ConfigError
from tests.worlds import gathered, make


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


@pytest.mark.parametrize("adapted", ["all", "head", ["0.*", "2.bias"]])
def test_it_computes_what_the_module_computes(adapted):
    module = network()
    learner = Learner(module, adapted)
    theta, rest, averages = learner.initial(module)
    inputs = torch.randn(7, 3)
    torch.testing.assert_close(learner(theta, rest, inputs), module(inputs))
    assert theta.numel() + rest.numel() == sum(p.numel() for p in module.parameters())
    assert averages == {}


def test_it_holds_no_numbers_and_leaves_the_module_as_it_is():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    before = copy.deepcopy(module.state_dict())
    learner = Learner(module, batch_norm="running")
    held = [value for structure in learner._structure.values() for value in structure.state_dict().values()]
    assert {value.device.type for value in held} == {"meta"}
    theta, rest, averages = learner.initial(module)
    with torch.no_grad():
        theta += 1
    learner.track(theta, rest, torch.rand(3, 1, 4, 4), averages)
    assert isinstance(module[1], nn.BatchNorm2d)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_initial_numbers_are_of_the_module_that_is_handed_in():
    learner, other = Learner(network(), "head"), network()
    theta, rest, _ = learner.initial(other)
    inputs = torch.randn(7, 3)
    torch.testing.assert_close(learner(theta, rest, inputs), other(inputs))


def test_replaced_parameters_take_the_vectors_place():
    module = network()
    learner = Learner(module)
    theta, rest, _ = learner.initial(module)
    replaced = {"2.weight": torch.zeros(5, 4), "2.bias": torch.arange(5.0)}
    assert torch.equal(learner(theta, rest, torch.randn(2, 3), replaced=replaced), torch.arange(5.0).expand(2, -1))


def test_head_is_the_last_layer():
    learner = Learner(network(), "head")
    assert learner.layout.names == ("2.weight", "2.bias")
    assert learner.layout.layers == ("2",)
    assert learner.shared_layout.names == ("0.weight", "0.bias")


def test_flatten_and_unflatten_are_inverse():
    module = network()
    learner = Learner(module)
    theta = learner.initial(module)[0]
    named = learner.layout.unflatten(theta)
    assert torch.equal(learner.layout.flatten(named), theta)
    assert {name: value.shape for name, value in named.items()} == {n: p.shape for n, p in network().named_parameters()}


@pytest.mark.parametrize("world", ["navigation", "sine"])
def test_shared_parameters_stay_in_the_inner_loop_and_are_meta_learned(world):
    agent = make(world, adapted="head", inner_steps=2)
    batch = gathered(agent)
    theta, _ = agent.adapter.replay(agent.meta, batch.experiences, batch.count)
    assert theta.shape == (2, len(agent.meta["theta"]))
    assert not torch.equal(theta[0], agent.meta["theta"])
    before = shared(agent.meta).clone()
    assert before.numel() > 0
    assert not torch.equal(shared(agent.learn(1).meta), before)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)), "1 .LayerNorm. gives wrong meta-gradients; use GroupNorm"),
        (nn.Sequential(nn.InstanceNorm1d(3, affine=True)), "InstanceNorm1d"),
        (nn.Sequential(nn.Linear(3, 4), nn.InstanceNorm1d(3, track_running_stats=True)), "InstanceNorm1d"),
        (nn.Sequential(nn.Linear(3, 4), nn.Dropout()), "1 .Dropout. draws noise of its own"),
        (nn.LSTM(3, 4), "LSTM. cannot be batched over tasks"),
        (nn.ReLU(), "has no parameters"),
    ],
)
def test_unsound_modules_are_refused(module, says):
    with pytest.raises(ConfigError, match=says):
        Learner(module)


def test_a_pattern_that_matches_nothing_is_named():
    with pytest.raises(ConfigError, match=r"adapted='tail' matches no parameter.*0\.weight"):
        Learner(network(), "tail")
