"""A module as a function of theta."""

import pytest
import torch
from torch import nn

from metarl import Learner
from metarl.errors import ConfigError
from tests.worlds import WORLDS, experience, make


def network():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


@pytest.mark.parametrize("adapted", ["all", "head", ["0.*", "2.bias"]])
def test_it_computes_what_the_module_computes(adapted):
    module = network()
    learner = Learner(module, adapted)
    theta, shared = learner.initial()
    inputs = torch.randn(7, 3)
    torch.testing.assert_close(learner(learner.join(theta, shared), inputs), module(inputs))
    assert theta.numel() + shared.numel() == sum(p.numel() for p in module.parameters())


def test_head_is_the_last_layer():
    learner = Learner(network(), "head")
    assert learner.layout.names == ("2.weight", "2.bias")
    assert learner.layout.layers == ("2",)
    assert learner.shared_layout.names == ("0.weight", "0.bias")


def test_flatten_and_unflatten_are_inverse():
    learner = Learner(network())
    named = learner.layout.unflatten(learner.initial()[0])
    assert torch.equal(learner.layout.flatten(named), learner.initial()[0])
    assert {name: value.shape for name, value in named.items()} == {n: p.shape for n, p in network().named_parameters()}


@pytest.mark.parametrize("world", WORLDS)
def test_shared_parameters_stay_in_the_inner_loop_and_are_meta_learned(world):
    agent = make(world, adapted="head", inner_steps=2)
    experiences, _ = experience(agent)
    adapted = agent.inner.replay(agent.meta, experiences)
    size = agent.meta["theta"].numel()
    assert torch.equal(adapted[:, size:], agent.meta["shared"].expand(2, -1))
    assert not torch.equal(adapted[0, :size], agent.meta["theta"])
    before = agent.meta["shared"].detach().clone()
    agent.learn(1)
    assert not torch.equal(agent.meta["shared"], before)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)), "1 .LayerNorm. gives wrong meta-gradients; use GroupNorm"),
        (nn.Sequential(nn.InstanceNorm1d(3, affine=True)), "InstanceNorm1d"),
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
