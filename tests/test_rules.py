"""Every rule keeps the contract; each has its own formula, and each of its options a case worked out by hand.

Rules are pure functions, so nothing here needs an agent, a network or an environment. That the inner loop hands them the right
gradients is tested in ``test_meta_gradients.py``.
"""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, grad_and_value

from metarl.errors import ConfigError
from metarl.learner import Layout
from metarl.rules import TURTLE, Adam, GradientDescent, LearnedOptimiser, MetaLSTM, MetaSGD
from metarl.rules.base import UpdateRule
from metarl.rules.preprocess import log_sign
from tests.rules import RULES

LAYOUT = Layout(("a.weight", "a.bias", "b.weight"), (torch.Size([2, 3]), torch.Size([2]), torch.Size([4])))
ONE, TWO = (Layout(("x",), (torch.Size([size]),)) for size in (1, 2))
NO_LOSS = torch.tensor(0.0, dtype=torch.float64)


def vector(*values):
    return torch.tensor(values, dtype=torch.float64)


def build(name):
    torch.manual_seed(0)
    cls, kwargs = RULES[name]
    return cls(LAYOUT, **kwargs).double()


def walk(rule, theta, gradients, losses=None):
    """Return theta after each step on the given gradients, one row a step."""
    state, path = rule.initial_state(theta), []
    for step, gradient in enumerate(gradients):
        theta, state = rule(theta, gradient, NO_LOSS if losses is None else losses[step], state, step)
        path.append(theta)
    return torch.stack(path)


@pytest.mark.parametrize("name", RULES)
class TestContract:
    def test_is_pure_and_keeps_shapes(self, name):
        rule = build(name)
        theta, gradient = torch.randn(2, LAYOUT.size, dtype=torch.float64)
        before = theta.clone(), gradient.clone(), {name: value.clone() for name, value in rule.state_dict().items()}
        results = [rule(theta, gradient, torch.tensor(1.0), rule.initial_state(theta), 1) for _ in range(2)]
        assert torch.equal(results[0][0], results[1][0])
        assert results[0][0].shape == theta.shape
        assert results[0][0].dtype == torch.float64
        assert torch.equal(theta, before[0])
        assert torch.equal(gradient, before[1])
        assert all(torch.equal(value, before[2][name]) for name, value in rule.state_dict().items())

    def test_vmap_adds_the_task_axis(self, name):
        rule = build(name)
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
        rule = build(name)
        if isinstance(rule, (MetaLSTM, TURTLE, LearnedOptimiser)):
            pytest.skip("a forget gate shrinks theta, and a network's bias moves it")
        theta = torch.randn(LAYOUT.size, dtype=torch.float64)
        moved, _ = rule(theta, torch.zeros_like(theta), torch.tensor(0.0), rule.initial_state(theta), 0)
        assert torch.equal(moved, theta)

    def test_three_steps_have_the_finite_difference_s_gradient(self, name):
        # by theta and by the rule's own parameters, on a loss that is not quadratic
        rule = build(name)
        if name == "TURTLE, update history":  # at random it goes so far that no difference is exact
            with torch.no_grad():
                rule.alpha.mul_(0.01)
        names, start = zip(*rule.named_parameters(), strict=True) if rule.learned else ((), ())
        centre = torch.randn(LAYOUT.size, dtype=torch.float64)

        def task_loss(theta):
            return (theta - centre).square().sum() + (theta * centre.roll(1)).sin().sum()

        def query_loss(theta, *parameters):
            state = rule.initial_state(theta)
            for step in range(3):
                gradient, loss = grad_and_value(task_loss)(theta)
                arguments = (theta, gradient, loss, state, step)
                theta, state = functional_call(rule, dict(zip(names, parameters, strict=True)), arguments)
            return task_loss(theta)

        point = [torch.randn(LAYOUT.size, dtype=torch.float64), *(value.detach().clone() for value in start)]
        inputs = tuple(value.requires_grad_() for value in point)
        assert torch.autograd.gradcheck(query_loss, inputs, eps=1e-6, atol=1e-6, rtol=1e-5, fast_mode=True)

    def test_its_rate_parameters_are_its_rates(self, name):
        rule = build(name)
        named = dict(rule.named_parameters())
        assert rule.learned == bool(named)
        for name in set(rule.rate_parameters) & set(named):
            before = rule.rates(2).detach().clone()
            with torch.no_grad():
                named[name] += 1
            torch.testing.assert_close(rule.rates(2), before + 1)
            assert rule.rates(2).shape == (LAYOUT.size,)


def test_a_rule_of_one_s_own_needs_only_a_step():
    class Sign(UpdateRule):
        def forward(self, theta, gradient, loss, state, step):
            return theta - gradient.sign(), state

    rule = Sign(TWO)
    assert walk(rule, vector(3, 3), [vector(5, -2)]).tolist() == [[2, 4]]
    assert (rule.learned, rule.rates(), rule.gates(()), rule.numbers_per_coordinate, rule.rate_parameters) == (
        False,
        None,
        {},
        1,
        (),
    )


class TestGradientDescent:
    def test_on_a_quadratic_by_hand(self):
        # L(theta) = 0.5 c theta^2, so theta' = (1 - alpha c) theta and dL(theta')/dtheta = c (1 - alpha c)^2 theta
        rule = GradientDescent(ONE, rate=0.3).double()
        c, theta = 2.0, torch.tensor([1.5], dtype=torch.float64, requires_grad=True)
        gradient = torch.autograd.grad(0.5 * c * theta.square().sum(), theta, create_graph=True)[0]
        moved, _ = rule(theta, gradient, torch.tensor(0.0), (), 0)
        torch.testing.assert_close(moved, (1 - 0.3 * c) * theta)
        meta = torch.autograd.grad(0.5 * c * moved.square().sum(), theta)[0]
        torch.testing.assert_close(meta, c * (1 - 0.3 * c) ** 2 * theta.detach())

    @pytest.mark.parametrize(
        ("rate", "learned", "steps", "table"),
        [
            (0.5, "fixed", 3, [[0.5]]),
            ((0.5, 0.25), "fixed", 1, [[0.5], [0.25]]),
            (0.5, "global", 3, [[0.5]]),
            (0.5, "step", 1, [[0.5]]),
            (0.5, "step", 3, [[0.5], [0.5], [0.5]]),
            ((0.5, 0.25), "step", 4, [[0.5], [0.25], [0.25], [0.25]]),
            ((0.5, 0.25), "step", 1, [[0.5], [0.25]]),
            (0.5, "layer", 3, [[0.5, 0.5]]),
            ((0.5, 0.25), "layer-step", 3, [[0.5, 0.5], [0.25, 0.25], [0.25, 0.25]]),
        ],
    )
    def test_the_table_of_rates(self, rate, learned, steps, table):
        rule = GradientDescent(LAYOUT, rate=rate, learned=learned, steps=steps)
        assert rule.table.tolist() == table
        assert [name for name, _ in rule.named_parameters()] == ([] if learned == "fixed" else ["table"])
        assert [name for name in rule.state_dict() if name == "table"] == ["table"]

    @pytest.mark.parametrize("learned", ["fixed", "step"])
    def test_each_step_takes_its_own_rate_and_the_last_one_beyond(self, learned):
        rule = GradientDescent(ONE, rate=(0.5, 0.25), learned=learned).double()
        path = walk(rule, vector(8), [vector(2), vector(4), vector(-4), vector(1)])
        assert path.flatten().tolist() == [7, 6, 7, 6.75]
        assert [rule.rates(step).item() for step in range(4)] == [0.5, 0.25, 0.25, 0.25]

    @pytest.mark.parametrize(("learned", "moves"), [("layer", [1, 2, 1, 2, 1, 2]), ("layer-step", [1, 2, 3, 4, 3, 4])])
    def test_rates_by_layer_reach_their_layer_and_step(self, learned, moves):
        rule = GradientDescent(LAYOUT, learned=learned, steps=2).double()
        rule.table = nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)[: len(rule.table)])
        for step, (first, second) in enumerate(zip(moves[::2], moves[1::2], strict=True)):
            moved, _ = rule(torch.zeros(12), torch.ones(12), NO_LOSS, (), step)
            assert moved.tolist() == [-first] * 8 + [-second] * 4  # a layer's weight and bias share a rate
            assert rule.rates(step).tolist() == [first] * 8 + [second] * 4

    def test_the_gradient_of_a_shared_rate_sums_over_its_coordinates(self):
        rule = GradientDescent(LAYOUT, rate=0.1, learned="layer").double()
        gradient = torch.arange(12, dtype=torch.float64)
        rule(torch.zeros(12), gradient, NO_LOSS, (), 0)[0].sum().backward()
        assert rule.table.grad.tolist() == [[-28, -38]]  # minus 0 + ... + 7, minus 8 + ... + 11


class TestMetaSGD:
    def test_on_a_quadratic_by_hand(self):
        # dL(theta')/dalpha = -c theta' * c theta
        rule = MetaSGD(TWO, rate=0.3).double()
        c, theta = vector(2, 5), vector(1.5, -1)
        moved, _ = rule(theta, c * theta, NO_LOSS, (), 0)
        (0.5 * c * moved.square()).sum().backward()
        torch.testing.assert_close(moved.detach(), vector(1.5 - 0.3 * 3, -1 + 0.3 * 5), rtol=0, atol=1e-7)
        torch.testing.assert_close(rule.alpha.grad, -c * moved.detach() * c * theta)

    def test_every_step_and_coordinate_takes_its_rate(self):
        rule = MetaSGD(TWO, rate=0.5).double()
        assert rule.alpha.tolist() == [0.5, 0.5]
        rule.alpha = nn.Parameter(vector(0.5, -2))
        assert walk(rule, vector(1, 1), [vector(2, 3), vector(4, 1)]).tolist() == [[0, 7], [-2, 9]]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


class TestMetaLSTM:
    def one_unit(self, preprocess):
        """A rule of one unit and one coordinate, and its weights: input, forget, candidate and output gate; distinct."""
        rule = MetaLSTM(ONE, hidden=1, preprocess=preprocess).double()
        columns = 4 if preprocess else 1
        weights = {
            "input_weights": torch.linspace(-0.9, 0.8, 4 * columns).view(4, columns),
            "hidden_weights": torch.tensor([[0.7], [-0.4], [1.1], [0.3]]),
            "bias": torch.tensor([0.2, 0.5, -0.3, 0.1]),
            "gate_hidden_weights": torch.tensor([[1.5], [-2.0]]),
            "gate_theta_weights": torch.tensor([0.3, -0.6]),
            "gate_previous_weights": torch.tensor([-0.5, 0.9]),
            "gate_bias": torch.tensor([0.4, -0.7]),
        }
        assert {name: value.shape for name, value in rule.named_parameters()} == {n: w.shape for n, w in weights.items()}
        weights = {name: value.double() for name, value in weights.items()}
        rule.load_state_dict(weights)
        return rule, {name: value.tolist() for name, value in weights.items()}

    @pytest.mark.parametrize("preprocess", [True, False])
    def test_three_steps_by_hand(self, preprocess):
        rule, w = self.one_unit(preprocess)
        gradients, losses = (2.0, -0.5, 0.25), (3.0, 1.5, 0.1)
        path = walk(rule, vector(1.5), [vector(g) for g in gradients], [vector(loss)[0] for loss in losses])
        theta, h, c, forget, take = 1.5, 0.0, 0.0, 0.0, 0.0
        for step, (g, loss) in enumerate(zip(gradients, losses, strict=True)):
            inputs = [math.log(abs(g)) / 10, math.copysign(1, g), math.log(loss) / 10, 1.0] if preprocess else [g]
            i, f, z, o = (
                sum(a * x for a, x in zip(row, inputs, strict=True)) + w["hidden_weights"][k][0] * h + w["bias"][k]
                for k, row in enumerate(w["input_weights"])
            )
            c = sigmoid(f) * c + sigmoid(i) * math.tanh(z)
            h = sigmoid(o) * math.tanh(c)
            forget, take = (
                w["gate_hidden_weights"][k][0] * h
                + w["gate_theta_weights"][k] * theta
                + w["gate_previous_weights"][k] * previous  # of the step before, ahead of its sigmoid
                + w["gate_bias"][k]
                for k, previous in enumerate((forget, take))
            )
            theta = sigmoid(forget) * theta - sigmoid(take) * g
            assert path[step].item() == pytest.approx(theta, rel=1e-12)

    def test_coordinates_share_weights_and_keep_their_own_memory(self):
        torch.manual_seed(1)
        rule = MetaLSTM(LAYOUT, hidden=3).double()
        with torch.no_grad():
            for value in rule.parameters():
                value.normal_()
        gradients = torch.randn(3, LAYOUT.size, dtype=torch.float64)
        together = walk(rule, torch.ones(LAYOUT.size, dtype=torch.float64), gradients, vector(1, 2, 3))
        for k in (0, 7):
            alone = walk(rule, vector(1), gradients[:, k : k + 1], vector(1, 2, 3))
            torch.testing.assert_close(together[:, k], alone[:, 0], rtol=1e-12, atol=0)

    def test_the_paper_s_start(self):
        draws = [dict(MetaLSTM(LAYOUT, hidden=2).named_parameters()) for _ in range(50)]
        forget, take = torch.stack([drawn.pop("gate_bias").detach() for drawn in draws]).unbind(1)
        assert 4 <= forget.min() < 4.3
        assert 5.7 < forget.max() <= 6
        assert -5 <= take.min() < -4.8
        assert -4.2 < take.max() <= -4
        for name in draws[0]:
            values = torch.cat([drawn[name].detach().flatten() for drawn in draws])
            assert -0.01 <= values.min() < -0.009, name
            assert 0.009 < values.max() <= 0.01, name

    @pytest.mark.parametrize(("preprocess", "columns"), [(True, 4), (False, 1)])
    def test_its_size(self, preprocess, columns):
        rule = MetaLSTM(LAYOUT, hidden=20, preprocess=preprocess)
        assert rule.input_weights.shape == (80, columns)
        assert rule.hidden_weights.shape == (80, 20)
        assert rule.numbers_per_coordinate == 80

    @pytest.mark.parametrize("rate", [0.1, 0.4])
    def test_started_as_gradient_descent_its_gates_are_constant(self, rate):
        rule = MetaLSTM(TWO, hidden=2, rate=rate).double()
        theta, gradient = vector(1.5, -2), vector(3, 0.5)
        state = rule.initial_state(theta)
        for step in range(3):
            moved, state = rule(theta, gradient, vector(7)[0], state, step)
            keep = sigmoid(10)
            torch.testing.assert_close(moved, keep * theta - rate * gradient, rtol=0, atol=1e-6)
            gates = rule.gates(state)
            torch.testing.assert_close(gates["forget gate"], vector(keep, keep))
            torch.testing.assert_close(gates["input gate"], vector(rate, rate), rtol=0, atol=1e-7)
            theta = moved

    @pytest.mark.parametrize("name", ["LSTM", "LSTM2"])
    def test_with_an_open_forget_gate_and_a_constant_input_gate_it_is_maml(self, name):
        # Theorem 1 of TURTLE's paper: a large b_f, b_i = -ln((1 - alpha) / alpha), and no weights into the gates
        rule, maml = build(name), GradientDescent(LAYOUT, rate=0.125).double()
        with torch.no_grad():
            rule.gate_bias.copy_(vector(40, -math.log((1 - 0.125) / 0.125)))
            for weights in (rule.gate_hidden_weights, rule.gate_theta_weights, rule.gate_previous_weights):
                weights.zero_()
        theta, gradients = torch.randn(LAYOUT.size, dtype=torch.float64), torch.randn(3, LAYOUT.size, dtype=torch.float64)
        losses = vector(3, 2, 1)
        torch.testing.assert_close(walk(rule, theta, gradients, losses), walk(maml, theta, gradients), rtol=0, atol=1e-12)


class TestAdam:
    def test_it_is_torch_s(self):
        rule, start = Adam(LAYOUT, rate=0.1).double(), torch.randn(LAYOUT.size, dtype=torch.float64)
        theirs = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([theirs], lr=0.1)
        gradients = torch.randn(5, LAYOUT.size, dtype=torch.float64)
        path = walk(rule, start, gradients)
        for step, gradient in enumerate(gradients):
            theirs.grad = gradient
            optimizer.step()
            torch.testing.assert_close(path[step], theirs.detach(), rtol=0, atol=1e-7)

    def test_its_options_by_hand(self):
        # the moments' averages, after gradients 1 and 3: 0.25 + 1.5 and 0.1875 + 2.25; corrected by 1 - 0.25 and 1 - 0.5625
        rule = Adam(ONE, rate=0.5, betas=(0.5, 0.75), eps=2.0).double()
        path = walk(rule, vector(1), [vector(1), vector(3)])
        first = 1 - 0.5 * 1 / math.sqrt(1 + 4)  # epsilon is under the root
        second = first - 0.5 * (1.75 / 0.75) / math.sqrt(2.4375 / 0.4375 + 4)
        torch.testing.assert_close(path.flatten(), vector(first, second), rtol=1e-12, atol=0)

    def test_a_zero_gradient_can_be_differentiated_twice(self):
        rule = Adam(ONE).double()
        zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        first = torch.autograd.grad(rule(zero, zero, NO_LOSS, rule.initial_state(zero), 0)[0].sum(), zero, create_graph=True)[0]
        assert torch.autograd.grad(first, zero)[0].isfinite().all()


def test_log_sign_by_hand():
    values = vector(1.0, -math.e, 0.0, math.exp(-11), -math.exp(-10), math.exp(-9))
    expected = [[0, 1], [0.1, -1], [-1, 0], [-1, math.exp(-1)], [-1, -1], [-0.9, 1]]
    torch.testing.assert_close(log_sign(values), torch.tensor(expected, dtype=torch.float64))
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    first = torch.autograd.grad(log_sign(zero).square().sum(), zero, create_graph=True)[0]
    assert torch.autograd.grad(first, zero)[0].isfinite().all()


class Spy(nn.Module):
    """In place of a network: keeps what it is shown, and returns minus the first column."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, inputs):
        self.seen.append(inputs.tolist())
        return -inputs[:, :1]


class TestTURTLE:
    @pytest.mark.parametrize(
        ("inputs", "rows"),
        [
            # what the network is shown of two coordinates with gradients 1 and -e, then e^-1 and 2, and losses e, then 1
            ("gradient", [[[1], [-math.e]], [[math.exp(-1)], [2]]]),
            ("loss", [[[math.e], [math.e]], [[1], [1]]]),
            ("processed-gradient", [[[0, 1], [0.1, -1]], [[-0.1, 1], [math.log(2) / 10, 1]]]),
            ("processed-loss", [[[0.1, 1], [0.1, 1]], [[0, 1], [0, 1]]]),
            ("time", [[[0], [0]], [[1], [1]]]),
            (("time", "loss", "gradient"), [[[0, math.e, 1], [0, math.e, -math.e]], [[1, 1, math.exp(-1)], [1, 1, 2]]]),
        ],
    )
    def test_its_inputs_by_hand(self, inputs, rows):
        rule = TURTLE(TWO, inputs=inputs, alpha="fixed", steps=2).double()
        assert rule.network[0].in_features == len(rows[0][0])
        rule.network = Spy()
        walk(rule, vector(5, 5), [vector(1, -math.e), vector(math.exp(-1), 2)], vector(math.e, 1))
        torch.testing.assert_close(torch.tensor(rule.network.seen), torch.tensor(rows, dtype=torch.float32))

    @pytest.mark.parametrize(
        ("name", "beta", "expected"),
        [
            # gradients: the first, then beta h + (1 - beta) g with the present g, as in the authors' code
            ("gradient-history", 0.75, [1, 0.75 * 1 + 0.25 * 2, 0.75 * 1.25 + 0.25 * 3]),
            ("gradient-history", 0.0, [1, 2, 3]),
            ("gradient-history", 1.0, [1, 1, 1]),
            # updates: zero, then the first update, then the average; the network writes minus the gradient, alpha is 2
            ("update-history", 0.75, [0, -2, 0.75 * -2 + 0.25 * -4]),
            ("update-history", 0.0, [0, -2, -4]),
            ("update-history", 1.0, [0, -2, -2]),
        ],
    )
    def test_histories_are_the_moving_averages(self, name, beta, expected):
        rule = TURTLE(ONE, inputs=("gradient", name), beta=beta, alpha="ones", steps=3).double()
        rule.alpha = nn.Parameter(vector(2))
        rule.network = Spy()
        path = walk(rule, vector(10), [vector(1), vector(2), vector(3)])
        assert [rows[0][1] for rows in rule.network.seen] == pytest.approx(expected)
        assert path.flatten().tolist() == [8, 4, -2]

    def test_its_rates_scale_the_network_s_updates(self):
        rule = TURTLE(TWO, alpha="ones").double()
        rule.network = Spy()
        rule.alpha = nn.Parameter(vector(0.5, -2))
        assert walk(rule, vector(1, 1), [vector(2, 3)]).tolist() == [[0, 7]]
        assert rule.rates().tolist() == [0.5, -2]

    @pytest.mark.parametrize("alpha", ["uniform", "ones", "fixed"])
    def test_where_its_rates_start(self, alpha):
        torch.manual_seed(0)
        rule = TURTLE(Layout(("x",), (torch.Size([1000]),)), hidden=(), alpha=alpha)
        assert ("alpha" in dict(rule.named_parameters())) == (alpha != "fixed")
        low, high = rule.alpha.min(), rule.alpha.max()
        assert (0 <= low < 0.01 and 0.99 < high < 1) if alpha == "uniform" else low == high == 1

    @pytest.mark.parametrize(("activation", "layer"), [("relu", nn.ReLU), ("tanh", nn.Tanh), ("elu", nn.ELU)])
    def test_its_network(self, activation, layer):
        network = TURTLE(TWO, hidden=(3, 7), activation=activation).network
        assert [(part.in_features, part.out_features) for part in network[::2]] == [(1, 3), (3, 7), (7, 1)]
        assert [type(part) for part in network[1::2]] == [layer, layer]
        assert TURTLE(TWO, hidden=(3, 7)).numbers_per_coordinate == 7

    @pytest.mark.parametrize("hidden", [(), (4,), (5, 3, 4)])
    @pytest.mark.parametrize("inputs", ["gradient", ("processed-loss", "gradient", "time"), ("update-history", "gradient")])
    @pytest.mark.parametrize("alpha", ["uniform", "fixed"])
    def test_started_as_gradient_descent_it_is(self, alpha, inputs, hidden):
        rule = TURTLE(TWO, hidden=hidden, inputs=inputs, alpha=alpha, rate=0.25, steps=2).double()
        path = walk(rule, vector(1, 1), [vector(2, -4), vector(-1, 3)], vector(5, 6))
        torch.testing.assert_close(path, torch.stack([vector(0.5, 2), vector(0.75, 1.25)]), rtol=0, atol=1e-12)
        assert rule.rates().tolist() == ([1, 1] if alpha == "fixed" else [0.25, 0.25])
        small = [part.weight[2:].abs().max() for part in list(rule.network)[:-1:2]]
        assert all(0 < value <= 0.1 for value in small)  # units that carry nothing start small, but can learn

    def test_a_linear_one_of_weight_minus_one_is_meta_sgd(self):
        rule, meta_sgd = TURTLE(LAYOUT, hidden=(), alpha="ones").double(), MetaSGD(LAYOUT).double()
        theta, gradients = torch.randn(LAYOUT.size, dtype=torch.float64), torch.randn(3, LAYOUT.size, dtype=torch.float64)
        with torch.no_grad():
            rule.network[0].weight.fill_(-1)
            for own in (rule, meta_sgd):
                own.alpha.copy_(gradients[0].cos())
        torch.testing.assert_close(walk(rule, theta, gradients), walk(meta_sgd, theta, gradients), rtol=0, atol=1e-12)
        adapted = [grad(lambda alpha, own=own: walk_with(own, alpha, theta, gradients)) for own in (rule, meta_sgd)]
        torch.testing.assert_close(*(g(gradients[0].cos()) for g in adapted), rtol=0, atol=1e-12)


def walk_with(rule, alpha, theta, gradients):
    """Return the squared length of theta after the steps, as a function of the rates."""
    state = rule.initial_state(theta)
    for step, gradient in enumerate(gradients):
        theta, state = functional_call(rule, {"alpha": alpha}, (theta, gradient * theta, NO_LOSS, state, step))
    return theta.square().sum()


@pytest.mark.parametrize(
    ("rule", "kwargs", "says"),
    [
        (GradientDescent, {"rate": -0.1}, r"rate\[0\]=-0.1 must be above zero"),
        (GradientDescent, {"rate": "x"}, "rate='x' is not a number"),
        (GradientDescent, {"rate": ()}, "rate=.. is empty"),
        (GradientDescent, {"rate": 0.1, "learned": "per-layer"}, "learned='per-layer' must be"),
        (GradientDescent, {"rate": (0.1, 0.2), "learned": "layer"}, "one rate a step"),
        (GradientDescent, {"learned": "step", "steps": 0}, "steps=0 must be above zero"),
        (MetaSGD, {"rate": 0}, "rate=0 must be above zero"),
        (Adam, {"rate": 0}, "rate=0 must be above zero"),
        (Adam, {"eps": 0}, "eps=0 must be above zero"),
        (Adam, {"betas": (0.9, 1.0)}, r"betas\[1\]=1.0 must lie in \[0, 1\]"),
        (MetaLSTM, {"rate": 1.0}, r"rate=1.0 must lie in \(0, 1\)"),
        (MetaLSTM, {"hidden": 0}, "hidden=0 must be above zero"),
        (TURTLE, {"inputs": ("gradient", "time")}, "inputs='time' says nothing with inner_steps=1"),
        (TURTLE, {"inputs": "gradient-history"}, "inputs='gradient-history' says nothing with inner_steps=1"),
        (TURTLE, {"inputs": ("gradent",)}, "inputs='gradent' is not known: did you mean 'gradient'"),
        (TURTLE, {"inputs": ("loss", "loss")}, "each once"),
        (TURTLE, {"inputs": ()}, "at least one input"),
        (TURTLE, {"inputs": 3}, "inputs=3 must be names: gradient, loss"),
        (TURTLE, {"inputs": ("gradient-history", "update-history"), "steps": 2}, "two histories"),
        (TURTLE, {"beta": 1.5}, r"beta=1.5 must lie in \[0, 1\]"),
        (TURTLE, {"alpha": "learned"}, "alpha='learned' must be"),
        (TURTLE, {"rate": -0.1}, "rate=-0.1 must be above zero"),
        (TURTLE, {"rate": 0.1, "inputs": "loss"}, "rate=0.1 needs 'gradient' among inputs"),
        (TURTLE, {"rate": 0.1, "activation": "tanh"}, "needs activation='relu'"),
        (TURTLE, {"rate": 0.1, "hidden": (5, 1)}, "hidden layers of at least two units"),
        (TURTLE, {"hidden": (5, 0)}, r"hidden\[1\]=0 must be above zero"),
        (TURTLE, {"hidden": 20}, "hidden=20 must be the widths"),
        (TURTLE, {"steps": 0}, "steps=0 must be above zero"),
    ],
)
def test_bad_arguments_are_named(rule, kwargs, says):
    with pytest.raises(ConfigError, match=says):
        rule(LAYOUT, **kwargs)
