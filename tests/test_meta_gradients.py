"""A meta-gradient equals the finite difference, for every rule in every world; first order is what it says."""

import pytest
import torch
from torch.func import functional_call
from torch.utils._pytree import tree_map

from metarl.adaptation import InnerLoop
from metarl.errors import ConfigError
from metarl.rules import TURTLE
from tests.rules import RULES
from tests.test_rules import LAYOUT
from tests.worlds import WORLDS, experience, flat, make, outer_loss, unflat


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("rule", "steps"), [("Meta-SGD", 1), *((rule, 3) for rule in RULES)])
def test_meta_gradient_equals_the_finite_difference(rule, world, steps):
    agent = make(world, rule, inner_steps=steps)
    if rule == "TURTLE, update history":  # at random it sends a policy so far that no difference is exact
        with torch.no_grad():
            agent.meta["rule.alpha"].mul_(0.01)
    experiences, query = experience(agent)
    loss = outer_loss(agent, experiences, query)
    point = flat(agent.meta).requires_grad_()
    assert torch.autograd.gradcheck(loss, point, eps=1e-6, atol=1e-7, rtol=1e-5, fast_mode=True)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("rule", ["gradient descent", "Meta-SGD"])
def test_first_order_takes_inner_gradients_as_constants(rule, world):
    agent = make(world, rule, inner_steps=2, first_order=True)
    experiences, query = experience(agent)
    meta = agent.meta
    gradient = torch.func.grad(
        lambda m: torch.vmap(agent.world.problem.loss)(agent.inner.replay(m, experiences), query).mean()
    )(meta)
    with torch.no_grad():
        adapted = agent.inner.replay(meta, experiences)
    at_the_end = torch.vmap(torch.func.grad(agent.world.problem.loss))(adapted, query)
    torch.testing.assert_close(gradient["theta"], at_the_end.mean(0), rtol=1e-9, atol=1e-12)
    second = make(world, rule, inner_steps=2)
    exact = torch.func.grad(lambda m: torch.vmap(second.world.problem.loss)(second.inner.replay(m, experiences), query).mean())(
        meta
    )
    assert not torch.allclose(gradient["theta"], exact["theta"], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("world", WORLDS)
def test_meta_sgd_with_one_rate_is_maml(world):
    meta_sgd, maml = make(world, "Meta-SGD", inner_steps=3), make(world, "gradient descent", inner_steps=3)
    experiences, query = experience(maml)
    torch.testing.assert_close(
        meta_sgd.inner.replay(meta_sgd.meta, experiences), maml.inner.replay(maml.meta, experiences), rtol=0, atol=1e-12
    )
    ours = torch.func.grad(outer_loss(meta_sgd, experiences, query))(flat(meta_sgd.meta))
    theirs = torch.func.grad(outer_loss(maml, experiences, query))(flat(maml.meta))
    torch.testing.assert_close(ours[: len(theirs)], theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("rule", ["LSTM", "TURTLE, gradient history"])
def test_first_order_of_a_learned_rule_is_the_gradient_on_constant_inputs(rule, world):
    # the rule's steps replayed by hand, on gradients and losses that were computed beforehand
    agent = make(world, rule, inner_steps=2, first_order=True)
    experiences, query = experience(agent)
    problem, learner = agent.world.problem, agent.world.problem.learner
    with torch.no_grad():
        thetas = [agent.meta["theta"], agent.inner.replay(agent.meta, experiences[:1])[0]]
        given = [
            torch.func.grad_and_value(problem.loss)(theta, first_of(e)) for theta, e in zip(thetas, experiences, strict=True)
        ]

    def by_hand(vector):
        meta = unflat(vector, agent.meta)
        parameters = {name.removeprefix("rule."): value for name, value in meta.items() if name.startswith("rule.")}
        theta, state = meta["theta"], agent.inner.rule.initial_state(meta["theta"])
        for step, (gradient, loss) in enumerate(given):
            theta, state = functional_call(agent.inner.rule, parameters, (theta, gradient, loss, state, step))
        return problem.loss(learner.join(theta, theta.new_zeros(0)), first_of(query))

    def through_the_inner_loop(vector):
        return problem.loss(agent.inner.replay(unflat(vector, agent.meta), experiences)[0], first_of(query))

    point = flat(agent.meta)
    torch.testing.assert_close(torch.func.grad(by_hand)(point), torch.func.grad(through_the_inner_loop)(point))


def first_of(batch):
    return tree_map(lambda tensor: tensor[0], batch)


def test_a_rule_of_another_network_is_refused():
    agent = make("sine", "TURTLE")
    with pytest.raises(ConfigError, match="rule=TURTLE was built for 12 parameters, but the network's adapted ones are 16"):
        InnerLoop(agent.world.problem, TURTLE(LAYOUT))
