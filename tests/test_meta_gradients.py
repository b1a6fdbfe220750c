"""A meta-gradient equals the finite difference, for every rule in every world; first order is what it says."""

import copy
from functools import partial

import pytest
import torch
from torch.func import functional_call, grad, grad_and_value
from torch.utils._pytree import tree_map

from metarl.adapters import GradientAdapter
from metarl.adapters.gradient import RULE
from metarl.errors import ConfigError
from metarl.rules import TURTLE
from tests.rules import RULES
from tests.test_rules import LAYOUT
from tests.worlds import WORLDS, flat, gathered, make, outer_loss, unflat


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("rule", "steps"), [("Meta-SGD", 1), *((rule, 3) for rule in RULES)])
def test_meta_gradient_equals_the_finite_difference(rule, world, steps):
    # of this seed no unit of TURTLE's as gradient descent lies so near to its kink that the difference would see it
    agent = make(world, rule, inner_steps=steps, seed=3)
    if rule == "TURTLE, update history":  # at random it sends a policy so far that no difference is exact
        agent.meta["rule.alpha"] = 0.01 * agent.meta["rule.alpha"]
    loss = outer_loss(agent, gathered(agent))
    point = flat(agent.meta).requires_grad_()
    assert torch.autograd.gradcheck(loss, point, eps=1e-6, atol=1e-7, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("rule", ["gradient descent", "Meta-SGD"])
def test_first_order_takes_inner_gradients_as_constants(rule, world):
    agent = make(world, rule, inner_steps=2, first_order=True)
    batch, adapter, meta = gathered(agent), agent.adapter, agent.meta
    theta = {"theta": unflat(grad(outer_loss(agent, batch))(flat(meta)), meta)["theta"]}
    with torch.no_grad():
        adapted, moments = adapter.replay(meta, batch.experiences, batch.count)

    def at_the_end(theta, moments, query):
        return adapter.problem.loss(partial(adapter.apply, meta, (theta, moments)), query)

    if agent.adapter.learner.batch_norm != "support":  # whose moments depend on theta too
        gradients = torch.vmap(grad(at_the_end))(adapted, moments, batch.query)
        torch.testing.assert_close(theta["theta"], gradients.mean(0), rtol=1e-9, atol=1e-12)
    exact = unflat(grad(outer_loss(make(world, rule, inner_steps=2), batch))(flat(meta)), meta)
    assert not torch.allclose(theta["theta"], exact["theta"], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("world", ["navigation", "sine", "images"])
@pytest.mark.parametrize("rule", ["LSTM", "TURTLE, gradient history"])
def test_first_order_of_a_learned_rule_is_the_gradient_on_constant_inputs(rule, world):
    # the rule's steps replayed by hand, on gradients and losses that were computed beforehand
    agent = make(world, rule, inner_steps=2, first_order=True)
    batch, adapter = gathered(agent), agent.adapter
    cls, kwargs = RULES[rule]
    plain = cls(adapter.learner.layout, **kwargs).double()

    def loss_of(theta, experience):
        return adapter.problem.loss(partial(adapter.apply, agent.meta, (theta, {})), first_of(experience))

    with torch.no_grad():
        thetas = [agent.meta["theta"], adapter.replay(agent.meta, batch.experiences[:1], batch.count)[0][0]]
    constants = [grad_and_value(loss_of)(theta, e) for theta, e in zip(thetas, batch.experiences, strict=True)]

    def by_hand(vector):
        meta = unflat(vector, agent.meta)
        parameters = {name.removeprefix(RULE): value for name, value in meta.items() if name.startswith(RULE)}
        theta, state = meta["theta"], plain.initial_state(meta["theta"])
        for step, (gradient, loss) in enumerate(constants):
            theta, state = functional_call(plain, parameters, (theta, gradient, loss, state, step))
        return loss_of(theta, batch.query)

    def through_the_adapter(vector):
        theta, _ = adapter.replay(unflat(vector, agent.meta), batch.experiences, batch.count)
        return loss_of(theta[0], batch.query)

    point = flat(agent.meta)
    torch.testing.assert_close(grad(by_hand)(point), grad(through_the_adapter)(point))


def first_of(batch):
    return tree_map(lambda tensor: tensor[0], batch)


def test_a_rule_of_another_network_is_refused():
    agent = copy.copy(make("sine", "TURTLE"))
    with pytest.raises(ConfigError, match="rule=TURTLE was built for 12 parameters, but the network's adapted ones are 16"):
        GradientAdapter(agent.adapter.problem, agent.adapter.learner, TURTLE(LAYOUT))
