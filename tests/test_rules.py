"""Every rule keeps the contract; each has its own formula."""

import pytest
import torch
from torch.func import functional_call

from metarl.errors import ConfigError
from metarl.learner import Layout
from metarl.rules import GradientDescent, MetaSGD
from tests.worlds import RULES, WORLDS, experience, flat, make, outer_loss

LAYOUT = Layout(("a.weight", "a.bias", "b.weight"), (torch.Size([2, 3]), torch.Size([2]), torch.Size([4])))


@pytest.mark.parametrize("name", RULES)
class TestContract:
    def build(self, name):
        cls, kwargs = RULES[name]
        return cls(LAYOUT, **kwargs).double()

    def test_is_pure_and_keeps_shapes(self, name):
        rule = self.build(name)
        theta, gradient = torch.randn(2, LAYOUT.size, dtype=torch.float64)
        before = theta.clone(), gradient.clone()
        results = [rule(theta, gradient, torch.tensor(1.0), rule.initial_state(theta), 1) for _ in range(2)]
        assert torch.equal(results[0][0], results[1][0])
        assert results[0][0].shape == theta.shape
        assert results[0][0].dtype == torch.float64
        assert torch.equal(theta, before[0])
        assert torch.equal(gradient, before[1])

    def test_vmap_adds_the_task_axis(self, name):
        rule = self.build(name)
        thetas, gradients = torch.randn(2, 5, LAYOUT.size, dtype=torch.float64)
        losses = torch.randn(5, dtype=torch.float64)
        state = rule.initial_state(thetas[0])
        batched, _ = torch.vmap(lambda t, g, loss: rule(t, g, loss, state, 0))(thetas, gradients, losses)
        single = torch.stack([rule(*row, state, 0)[0] for row in zip(thetas, gradients, losses, strict=True)])
        torch.testing.assert_close(batched, single, rtol=0, atol=1e-12)

    def test_a_zero_gradient_at_rest_moves_nothing(self, name):
        rule = self.build(name)
        theta = torch.randn(LAYOUT.size, dtype=torch.float64)
        moved, _ = rule(theta, torch.zeros_like(theta), torch.tensor(0.0), rule.initial_state(theta), 0)
        assert torch.equal(moved, theta)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("rule", RULES)
def test_meta_gradient_equals_the_finite_difference(rule, world, steps):
    agent = make(world, rule, inner_steps=steps)
    experiences, query = experience(agent)
    loss = outer_loss(agent, experiences, query)
    point = flat(agent.meta).requires_grad_()
    assert torch.autograd.gradcheck(loss, point, eps=1e-6, atol=1e-7, rtol=1e-5)


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


def test_gradient_descent_on_a_quadratic_by_hand():
    # L(theta) = 0.5 c theta^2, so theta' = (1 - alpha c) theta and dL(theta')/dtheta = c (1 - alpha c)^2 theta
    rule = GradientDescent(Layout(("x",), (torch.Size([1]),)), rate=0.3).double()
    c, theta = 2.0, torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad(0.5 * c * theta.square().sum(), theta, create_graph=True)[0]
    moved, _ = rule(theta, gradient, torch.tensor(0.0), (), 0)
    torch.testing.assert_close(moved, (1 - 0.3 * c) * theta)
    meta = torch.autograd.grad(0.5 * c * moved.square().sum(), theta)[0]
    torch.testing.assert_close(meta, c * (1 - 0.3 * c) ** 2 * theta.detach())


def test_meta_sgd_on_a_quadratic_by_hand():
    # dL(theta')/dalpha = -c theta' * c theta
    rule = MetaSGD(Layout(("x",), (torch.Size([2]),)), rate=0.3).double()
    c = torch.tensor([2.0, 5.0], dtype=torch.float64)
    theta = torch.tensor([1.5, -1.0], dtype=torch.float64)
    moved, _ = rule(theta, c * theta, torch.tensor(0.0), (), 0)
    (0.5 * c * moved.square()).sum().backward()
    torch.testing.assert_close(rule.alpha.grad, -c * moved.detach() * c * theta)


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


def test_rates_by_step_repeat_the_last():
    rule = GradientDescent(LAYOUT, rate=(0.5, 0.25))
    assert [rule.rates(step)[0].item() for step in range(4)] == [0.5, 0.25, 0.25, 0.25]


def test_rates_by_layer_reach_their_layer():
    rule = GradientDescent(LAYOUT, rate=0.5, learned="layer")
    table = {"table": torch.tensor([[1.0, 2.0]])}
    moved, _ = functional_call(rule, table, (torch.zeros(12), torch.ones(12), torch.tensor(0.0), (), 0))
    assert moved.tolist() == [-1.0] * 8 + [-2.0] * 4


@pytest.mark.parametrize(
    ("rule", "kwargs", "says"),
    [
        (GradientDescent, {"rate": -0.1}, r"rate\[0\]=-0.1 must be above zero"),
        (GradientDescent, {"rate": "x"}, "rate='x' is not a number"),
        (GradientDescent, {"rate": ()}, "rate=.. is empty"),
        (GradientDescent, {"rate": 0.1, "learned": "per-layer"}, "learned='per-layer' must be"),
        (GradientDescent, {"rate": (0.1, 0.2), "learned": "layer"}, "one rate a step"),
        (MetaSGD, {"rate": 0}, "rate=0 must be above zero"),
    ],
)
def test_bad_arguments_are_named(rule, kwargs, says):
    with pytest.raises(ConfigError, match=says):
        rule(LAYOUT, **kwargs)
