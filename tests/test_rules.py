"""Every rule keeps the contract; each has its own formula."""

import math

import pytest
import torch
from torch.func import functional_call
from torch.utils._pytree import tree_map

from metarl.adaptation import InnerLoop
from metarl.errors import ConfigError
from metarl.learner import Layout
from metarl.rules import TURTLE, Adam, GradientDescent, MetaLSTM, MetaSGD
from metarl.rules.preprocess import log_sign
from tests.worlds import RULES, WORLDS, experience, flat, make, outer_loss, unflat

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
        start = rule.initial_state(thetas[0])

        def two_steps(theta, gradient, loss):
            theta, state = rule(theta, gradient, loss, start, 0)
            return rule(theta, 0.5 * gradient, loss, state, 1)[0]

        batched = torch.vmap(two_steps)(thetas, gradients, losses)
        single = torch.stack([two_steps(*row) for row in zip(thetas, gradients, losses, strict=True)])
        torch.testing.assert_close(batched, single, rtol=0, atol=1e-12)

    def test_a_zero_gradient_at_rest_moves_nothing(self, name):
        rule = self.build(name)
        if isinstance(rule, (MetaLSTM, TURTLE)):
            pytest.skip("a forget gate shrinks theta, and a network's bias moves it")
        theta = torch.randn(LAYOUT.size, dtype=torch.float64)
        moved, _ = rule(theta, torch.zeros_like(theta), torch.tensor(0.0), rule.initial_state(theta), 0)
        assert torch.equal(moved, theta)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("rule", RULES)
def test_meta_gradient_equals_the_finite_difference(rule, world, steps):
    agent = make(world, rule, inner_steps=steps)
    if rule == "TURTLE, update history":  # at random it sends a policy so far that no difference is exact
        with torch.no_grad():
            agent.meta["rule.alpha"].mul_(0.01)
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


def test_adam_is_torchs():
    rule, start = Adam(LAYOUT, rate=0.1).double(), torch.randn(LAYOUT.size, dtype=torch.float64)
    theirs = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.1)
    theta, state = start, rule.initial_state(start)
    for step in range(5):
        gradient = torch.randn(LAYOUT.size, dtype=torch.float64)
        theta, state = rule(theta, gradient, torch.tensor(0.0), state, step)
        theirs.grad = gradient
        optimizer.step()
    torch.testing.assert_close(theta, theirs.detach(), rtol=0, atol=1e-7)


def test_log_sign_by_hand():
    values = torch.tensor([1.0, -math.e, 0.0, math.exp(-11), -math.exp(-10)], dtype=torch.float64)
    expected = [[0, 1], [0.1, -1], [-1, 0], [-1, math.exp(-1)], [-1, -1]]
    torch.testing.assert_close(log_sign(values), torch.tensor(expected, dtype=torch.float64))
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    first = torch.autograd.grad(log_sign(zero).square().sum(), zero, create_graph=True)[0]
    assert torch.autograd.grad(first, zero)[0].isfinite().all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # gradients: the first, then beta h + (1 - beta) g with the present g, as in the authors' code
        ("gradient-history", [1.0, 0.9 * 1.0 + 0.1 * 2.0, 0.9 * 1.1 + 0.1 * 3.0]),
        # updates: zero, then the first update, then the average; here every update is 1 + time
        ("update-history", [0.0, 1.0, 0.9 * 1.0 + 0.1 * 2.0]),
    ],
)
def test_histories_are_the_moving_averages(name, expected):
    seen = []

    class Spy(torch.nn.Module):
        def forward(self, inputs):
            seen.append(inputs[0].tolist())
            return 1 + inputs[:, 1:]

    rule = TURTLE(LAYOUT, inputs=(name, "time"), beta=0.9, alpha="fixed", steps=3).double()
    rule.network = Spy()
    theta = torch.zeros(LAYOUT.size, dtype=torch.float64)
    state = rule.initial_state(theta)
    for step, gradient in enumerate((1.0, 2.0, 3.0)):
        theta, state = rule(theta, torch.full_like(theta, gradient), torch.tensor(0.0), state, step)
    assert [row[0] for row in seen] == pytest.approx(expected)
    assert [row[1] for row in seen] == [0, 1, 2]
    assert theta[0].item() == 6


def test_the_paper_s_start_of_the_lstm():
    rule = MetaLSTM(LAYOUT)
    forget, take = rule.gate_bias.tolist()
    assert 4 <= forget <= 6
    assert -5 <= take <= -4
    weights = [p for name, p in rule.named_parameters() if name != "gate_bias"]
    assert all(0 < float(p.detach().abs().max()) <= 0.01 for p in weights)
    assert rule.input_weights.shape == (80, 4)


def test_a_rule_of_another_network_is_refused():
    agent = make("sine", "TURTLE")
    with pytest.raises(ConfigError, match="rule=TURTLE was built for 12 parameters, but the network's adapted ones are 16"):
        InnerLoop(agent.world.problem, TURTLE(LAYOUT))


@pytest.mark.parametrize(
    ("rule", "kwargs", "says"),
    [
        (GradientDescent, {"rate": -0.1}, r"rate\[0\]=-0.1 must be above zero"),
        (GradientDescent, {"rate": "x"}, "rate='x' is not a number"),
        (GradientDescent, {"rate": ()}, "rate=.. is empty"),
        (GradientDescent, {"rate": 0.1, "learned": "per-layer"}, "learned='per-layer' must be"),
        (GradientDescent, {"rate": (0.1, 0.2), "learned": "layer"}, "one rate a step"),
        (MetaSGD, {"rate": 0}, "rate=0 must be above zero"),
        (MetaLSTM, {"rate": 1.0}, r"rate=1.0 must lie in \(0, 1\)"),
        (MetaLSTM, {"hidden": 0}, "hidden=0 must be above zero"),
        (TURTLE, {"inputs": ("gradient", "time")}, "inputs='time' says nothing with inner_steps=1"),
        (TURTLE, {"inputs": "gradient-history"}, "inputs='gradient-history' says nothing with inner_steps=1"),
        (TURTLE, {"inputs": ("gradent",)}, "inputs='gradent' is not known: did you mean 'gradient'"),
        (TURTLE, {"inputs": ("loss", "loss")}, "each once"),
        (TURTLE, {"inputs": ("gradient-history", "update-history"), "steps": 2}, "two histories"),
        (TURTLE, {"beta": 1.5}, r"beta=1.5 must lie in \[0, 1\]"),
        (TURTLE, {"alpha": "learned"}, "alpha='learned' must be"),
        (TURTLE, {"rate": -0.1}, "rate=-0.1 must be above zero"),
        (TURTLE, {"rate": 0.1, "inputs": "loss"}, "rate=0.1 needs 'gradient' among inputs"),
        (TURTLE, {"rate": 0.1, "activation": "tanh"}, "needs activation='relu'"),
        (TURTLE, {"hidden": (5, 0)}, r"hidden\[1\]=0 must be above zero"),
    ],
)
def test_bad_arguments_are_named(rule, kwargs, says):
    with pytest.raises(ConfigError, match=says):
        rule(LAYOUT, **kwargs)
