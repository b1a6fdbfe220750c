"""Identities between algorithms, exact in float64, over several steps and in both worlds."""

import math

import pytest
import torch

import metarl
from metarl.errors import NonFiniteError
from metarl.outer.meta_gradient import meta_gradient
from metarl.rules import TURTLE
from tests.worlds import WORLDS, flat, gathered, make, outer_loss

STEPS = 3
RATE = torch.tensor(0.1).item()  # as float32 has it: rules are built in it
# one world of each kind: a policy, a regressor, a classifier with batch-norm
FEW = ["navigation", "sine", "images, statistics of the support set"]


def assert_same_adaptation_and_gradient(one, other):
    """The same adapted parameters on the same experience, and the same meta-gradient by theta."""
    batch = gathered(other)
    adapted = [agent.adapter.replay(agent.meta, batch.experiences, batch.count)[0] for agent in (one, other)]
    torch.testing.assert_close(*adapted, rtol=0, atol=1e-12)
    size = len(other.meta["theta"])
    gradients = [torch.func.grad(outer_loss(agent, batch))(flat(agent.meta))[:size] for agent in (one, other)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)
    return batch


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", ["LSTM", "LSTM2"])
def test_the_lstm_with_open_forget_gate_and_constant_input_gate_is_maml(kind, world):
    # Theorem 1 of TURTLE's paper: a large b_f, b_i = -ln((1 - alpha) / alpha), and no weights into the gates
    lstm, maml = make(world, kind, inner_steps=STEPS), make(world, "gradient descent", inner_steps=STEPS)
    lstm.meta["rule.gate_bias"].copy_(torch.tensor([40.0, -math.log((1 - RATE) / RATE)], dtype=torch.float64))
    for name in ("hidden", "theta", "previous"):
        lstm.meta[f"rule.gate_{name}_weights"].zero_()
    assert_same_adaptation_and_gradient(lstm, maml)


@pytest.mark.parametrize("world", FEW)
def test_the_lstm_started_as_gradient_descent_is_all_but_maml(world):
    lstm, maml = make(world, "LSTM as gradient descent"), make(world, "gradient descent")
    batch = gathered(maml)
    ours, theirs = (agent.adapter.replay(agent.meta, batch.experiences, 2)[0] for agent in (lstm, maml))
    theta = maml.meta["theta"]
    # a forget gate of sigmoid(10) loses 5e-5 of theta; the input gate is the rate, up to float32
    assert ((ours - theirs).abs() <= 5e-5 * theta.abs() + 1e-6 * (theirs - theta).abs() + 1e-12).all()
    assert not torch.equal(ours, theirs)


@pytest.mark.parametrize("world", WORLDS)
def test_a_linear_turtle_of_weight_minus_alpha_is_maml(world):
    turtle, maml = make(world, "TURTLE, fixed rates", inner_steps=STEPS), make(world, "gradient descent", inner_steps=STEPS)
    turtle.meta["rule.network.0.weight"].fill_(-RATE)
    assert_same_adaptation_and_gradient(turtle, maml)


@pytest.mark.parametrize("world", WORLDS)
def test_a_turtle_started_as_gradient_descent_is_maml(world):
    turtle = make(world, "TURTLE as gradient descent", inner_steps=STEPS)
    assert_same_adaptation_and_gradient(turtle, make(world, "gradient descent", inner_steps=STEPS))


@pytest.mark.parametrize("world", WORLDS)
def test_a_linear_turtle_with_learned_rates_is_meta_sgd(world):
    given = {**WORLDS[world], "dtype": "float64", "device": "cpu", "inner_steps": STEPS}
    rule_kwargs = {"hidden": [], "alpha": "ones"}
    turtle = metarl.Agent(given.pop("policy"), given.pop("env"), rule=TURTLE, rule_kwargs=rule_kwargs, **given)
    meta_sgd = make(world, "Meta-SGD", inner_steps=STEPS)
    rates = torch.randn(len(meta_sgd.meta["theta"]), dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / 10
    turtle.meta["rule.network.0.weight"].fill_(-1.0)
    turtle.meta["rule.alpha"].copy_(rates)
    meta_sgd.meta["rule.alpha"].copy_(rates)
    batch = assert_same_adaptation_and_gradient(turtle, meta_sgd)
    gradients = [
        meta_gradient(agent.adapter, agent.meta, batch.experiences, batch.query, batch.count)[1]["rule.alpha"]
        for agent in (turtle, meta_sgd)
    ]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


def alpha_maml(world, steps=STEPS, **options):
    given = {**WORLDS[world], "dtype": "float64", "device": "cpu", "inner_steps": steps}
    outer = metarl.HypergradientDescent(**options)
    return metarl.AlphaMAML(given.pop("policy"), given.pop("env"), rate=0.1, outer=outer, **given)


@pytest.mark.parametrize("world", FEW)
@pytest.mark.parametrize(("optimizer", "reduction"), [("SGD", "sum"), ("Adam", "mean")])
def test_alpha_maml_with_zero_hyper_rates_is_maml(optimizer, reduction, world):
    options = {"learning_rate": 1e-4, "alpha_hyper": 0.0, "beta_hyper": 0.0, "reduction": reduction, "optimizer": optimizer}
    alpha = alpha_maml(world, **options).learn(2, log_interval=9)
    scale = WORLDS[world]["meta_batch"] if reduction == "sum" else 1
    outer = metarl.GradientDescent(learning_rate=1e-4 * scale, optimizer=optimizer)
    maml = make(world, "gradient descent", inner_steps=STEPS, outer=outer).learn(2, log_interval=9)
    torch.testing.assert_close(alpha.meta["theta"], maml.meta["theta"], rtol=0, atol=1e-12)
    assert alpha.meta["rule.table"].item() == RATE


def test_alpha_maml_with_zero_hyper_rates_under_trpo_is_maml_under_trpo():
    trpo = metarl.TRPO(damping=0.1)
    alpha = alpha_maml("navigation", learning_rate=1.0, alpha_hyper=0.0, beta_hyper=0.0, trpo=trpo).learn(2)
    maml = make("navigation", "gradient descent", inner_steps=STEPS, outer=metarl.TRPO(damping=0.1)).learn(2)
    torch.testing.assert_close(alpha.meta["theta"], maml.meta["theta"], rtol=0, atol=1e-10)


def next_experience(agent):
    """What the agent's next outer step will see, without taking it."""
    before = {name: generator.get_state() for name, generator in agent.streams.items()}
    batch = gathered(agent)
    for name, generator in agent.streams.items():
        generator.set_state(before[name])
    return batch


def summed_loss(agent, meta, batch):
    return agent.adapter.losses(meta, agent.adapter.replay(meta, batch.experiences, batch.count), batch.query).sum().item()


@pytest.mark.parametrize(("world", "steps"), [("navigation", STEPS), ("bandit", 1), ("sine", STEPS), ("images", 1)])
def test_alpha_moves_by_the_derivative_of_the_meta_objective(world, steps):
    agent = alpha_maml(world, steps=steps, learning_rate=0.01, alpha_hyper=1e-3, beta_hyper=0.0).learn(1)
    batch, meta, e = next_experience(agent), agent.meta, 1e-5
    up, down = (summed_loss(agent, {**meta, "rule.table": meta["rule.table"] + d}, batch) for d in (e, -e))
    moved = (agent.learn(1).meta["rule.table"] - meta["rule.table"]).item()
    assert moved == pytest.approx(-1e-3 * (up - down) / (2 * e), rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("world", ["navigation", "sine"])
def test_one_step_s_hypergradient_of_alpha_is_the_paper_s(world):
    agent = alpha_maml(world, steps=1, learning_rate=0.01, alpha_hyper=1e-3, beta_hyper=0.0)
    batch, meta, adapter = next_experience(agent), agent.meta, agent.adapter
    theta, _ = adapter.replay(meta, batch.experiences, batch.count)

    def gradients(thetas, experience):
        return torch.func.grad(lambda t: adapter.losses(meta, (t, {}), experience).sum())(thetas)

    after, before = gradients(theta, batch.query), gradients(meta["theta"].expand(batch.count, -1), batch.experiences[0])
    moved = (agent.learn(1).meta["rule.table"] - meta["rule.table"]).item()
    assert moved == pytest.approx(1e-3 * (after * before).sum().item(), rel=1e-9)  # eq. 9


@pytest.mark.parametrize(("world", "optimizer"), [("navigation", "SGD"), ("sine", "SGD"), ("sine", "Adam"), ("images", "Adam")])
def test_beta_moves_by_the_derivative_of_the_loss_it_led_to(world, optimizer):
    agent = alpha_maml(world, learning_rate=1e-4, alpha_hyper=0.0, beta_hyper=1e-9, optimizer=optimizer)
    start, beta = agent.meta["theta"], agent.learn(1).outer_state["beta"].item()
    meta, e = agent.meta, 1e-8
    direction = (start - meta["theta"]) / beta
    batch = next_experience(agent)
    up, down = (summed_loss(agent, {**meta, "theta": start - (beta + d) * direction}, batch) for d in (e, -e))
    moved = agent.learn(1).outer_state["beta"].item() - beta
    assert moved == pytest.approx(-1e-9 * (up - down) / (2 * e), rel=1e-4)


def test_clamped_rates_do_not_fall_below_zero():
    lowest = {False: [], True: []}
    for clamp, values in lowest.items():
        agent = alpha_maml("sine", learning_rate=0.01, alpha_hyper=1e3, beta_hyper=1e3, clamp=clamp)
        for _ in range(4):
            try:
                agent.learn(1)
            except NonFiniteError:
                break
            values.append(min(agent.meta["rule.table"].item(), agent.outer_state["beta"].item()))
    assert min(lowest[False]) < 0
    assert min(lowest[True]) == 0
