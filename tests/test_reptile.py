"""Reptile and first-order MAML: what they are by other names, by hand, and what they refuse."""

import copy
from functools import partial

import pytest
import torch
from torch.func import grad

import metarl
from metarl import rules
from metarl.agents.side_by_side import learn_side_by_side
from metarl.errors import ConfigError, NonFiniteError
from metarl.outer import GradientDescent, Reptile
from metarl.outer.meta_gradient import Batch
from tests.small import small
from tests.toys import weight
from tests.worlds import WORLDS, gathered, make

RATE = torch.tensor(0.1).item()  # as float32 has it: rules are built in it
PLAIN = [world for world in WORLDS if world != "images, statistics of the support set"]


def mean_gradient(agent, theta, experience):
    """The mean over tasks of the loss's gradients at a theta for each, shape (tasks, P)."""

    def loss(theta, experience):
        return agent.adapter.problem.loss(partial(agent.adapter.apply, agent.meta, (theta, {})), experience)

    return torch.vmap(grad(loss))(theta, experience).mean(0)


def followed(agent, batch):
    """Where the outer step leads, on experience without an adaptation."""
    alone = Batch(batch.experiences, batch.query, batch.count)
    return agent.outer.improve(agent.adapter, agent.meta, agent.outer_state, alone, torch.Generator())[0]


# -- identities


@pytest.mark.parametrize("world", PLAIN)
def test_one_inner_step_is_joint_training(world):
    agent = make(world, "gradient descent", inner_steps=1, outer=Reptile(0.5))
    batch, theta = gathered(agent), agent.meta["theta"]
    direction = mean_gradient(agent, theta.expand(batch.count, -1), batch.experiences[0])
    moved = followed(agent, batch).meta["theta"]
    torch.testing.assert_close(moved, theta - 0.5 * RATE * direction, rtol=0, atol=1e-12)


@pytest.mark.parametrize("world", PLAIN)
def test_several_inner_steps_are_the_sum_of_their_gradients(world):
    agent = make(world, "gradient descent", inner_steps=3, outer=Reptile())
    batch, theta = gathered(agent), agent.meta["theta"]
    path = [adapted for adapted, _ in batch.adaptation.adapted[:3]]
    gradients = [mean_gradient(agent, *step) for step in zip(path, batch.experiences, strict=True)]
    moved = followed(agent, batch).meta["theta"]
    torch.testing.assert_close(moved, theta - RATE * sum(gradients), rtol=0, atol=1e-12)
    assert not torch.allclose(moved, theta - 3 * RATE * gradients[0], atol=1e-6)


@pytest.mark.parametrize("world", WORLDS)
def test_it_goes_a_fraction_of_the_way_to_the_mean_of_the_adapted_parameters(world):
    agent = make(world, "Adam", inner_steps=2, outer=Reptile())
    batch, theta = gathered(agent), agent.meta["theta"]
    mean = batch.adaptation.adapted[-1][0].mean(0)
    outcome = followed(agent, batch)
    torch.testing.assert_close(outcome.meta["theta"], mean, rtol=0, atol=1e-12)  # all the way
    assert outcome.metrics["gradient_norm"].item() == pytest.approx((mean - theta).norm().item())
    loss = agent.adapter.losses(agent.meta, batch.adaptation.adapted[-1], batch.query).mean()
    assert outcome.loss.item() == pytest.approx(loss.item(), rel=1e-12)
    # with the adaptation at hand nothing is adapted again, and the same comes out
    seen, _ = agent.outer.improve(agent.adapter, agent.meta, agent.outer_state, batch, torch.Generator())
    torch.testing.assert_close(seen.meta["theta"], outcome.meta["theta"], rtol=0, atol=1e-15)
    agent.outer = Reptile(0.25)
    torch.testing.assert_close(followed(agent, batch).meta["theta"], 0.75 * theta + 0.25 * mean, rtol=0, atol=1e-12)


@pytest.mark.parametrize("world", PLAIN)
def test_first_order_maml_is_the_query_gradient_at_the_adapted_parameters(world):
    outer = GradientDescent(0.5, optimizer="SGD")
    agent = make(world, "gradient descent", inner_steps=2, first_order=True, outer=outer)
    batch, theta = gathered(agent), agent.meta["theta"]
    direction = mean_gradient(agent, batch.adaptation.adapted[-1][0], batch.query)
    torch.testing.assert_close(followed(agent, batch).meta["theta"], theta - 0.5 * direction, rtol=0, atol=1e-12)


def test_two_steps_of_reptile_are_a_step_of_joint_training_and_one_of_first_order_maml():
    # section 5.1: FOMAML's gradient is the last one alone, Reptile's the sum
    reptile = make("sine", "gradient descent", inner_steps=2, outer=Reptile())
    batch, theta = gathered(reptile), reptile.meta["theta"]
    joint = make("sine", "gradient descent", inner_steps=1, outer=Reptile())
    first_order = make(
        "sine", "gradient descent", first_order=True, inner_steps=1, outer=GradientDescent(RATE, optimizer="SGD")
    )
    first, second = batch.experiences
    parts = [followed(joint, Batch([first], second, 2)), followed(first_order, Batch([first], second, 2))]
    moved = sum(part.meta["theta"] - theta for part in parts)
    torch.testing.assert_close(followed(reptile, batch).meta["theta"] - theta, moved, rtol=0, atol=1e-12)


def test_nothing_is_differentiated_through_the_inner_steps():
    batches = [gathered(small("Reptile", first_order=value)) for value in (False, True)]
    assert torch.equal(*(followed(small("Reptile"), batch).meta["theta"] for batch in batches))
    assert not followed(small("Reptile"), batches[0]).meta["theta"].requires_grad


# -- annealing


def test_the_fraction_falls_linearly_to_nought_and_stays_there():
    agent, fractions = small("Reptile", outer=Reptile(0.5, anneal_over=4)), []
    for _ in range(6):
        before = agent.meta["theta"]
        tasks, generator = agent.source.sample(2, "train", torch.Generator().manual_seed(0)), torch.Generator()
        outcome, agent.outer_state = agent.outer.step(agent.adapter, agent.meta, agent.outer_state, tasks, generator)
        agent.meta = outcome.meta
        fractions.append(outcome.metrics["fraction"])
        way = (outcome.meta["theta"] - before).norm().item()
        assert way == pytest.approx(fractions[-1] * outcome.metrics["gradient_norm"].item())
    assert fractions == [0.5, 0.375, 0.25, 0.125, 0.0, 0.0]


def test_annealing_goes_on_from_a_checkpoint(tmp_path):
    outer = Reptile(anneal_over=4)
    whole, half = (small("Reptile", outer=outer).learn(steps) for steps in (4, 2))
    resumed = metarl.Reptile.load(half.save(tmp_path / "half")).learn(2)
    assert resumed.outer == outer
    assert resumed.outer_state == {"steps": 4}
    assert torch.equal(resumed.meta["theta"], whole.meta["theta"])


# -- what is not theta


def test_running_averages_are_tracked_and_nothing_else_is_changed():
    agent = metarl.MAML("MLP", "tests/Images-v0", policy_kwargs={"hidden": (4,)}, batch_norm="running", outer="reptile")
    before, count = dict(agent.meta), agent.meta["running.norm1.num_batches_tracked"].item()
    batch = gathered(agent)
    outcome = followed(agent, batch)
    assert {name for name in before if not torch.equal(before[name], outcome.meta[name])} == {"theta"}
    agent.learn(2, log_interval=9)
    assert agent.meta["running.norm1.num_batches_tracked"].item() == count + 2


@pytest.mark.parametrize(
    ("make_agent", "says"),
    [
        (lambda: metarl.ProtoNet("MLP", "tests/Images-v0", outer="reptile"), "follows inner steps, and Prototypes takes none"),
        (lambda: make("sine", "Meta-SGD", outer=Reptile()), "rule=MetaSGD has parameters to learn, which no inner step"),
        (lambda: make("sine", "TURTLE", outer=Reptile()), "rule=TURTLE has parameters to learn"),
        (lambda: metarl.MAML("MLP", "metarl/Sine-v0", learned="global", outer="reptile"), "use a rule without"),
        (
            lambda: metarl.Reptile("MLP", "metarl/Sine-v0", adapted="head"),
            r"leaves out 0\.weight, .*; give adapted='all'",
        ),
        (lambda: metarl.Reptile("MLP", "metarl/Sine-v0", inner_steps=0), "inner_steps=0 leaves Reptile nothing to follow"),
        (lambda: Reptile(0.0), "fraction=0.0 must be above zero"),
        (lambda: Reptile(1.5), r"fraction=1.5 must lie in \[0, 1\]"),
        (lambda: Reptile(anneal_over=0), "anneal_over=0 must be above zero"),
        (lambda: Reptile(anneal_over=2.5), "anneal_over=2.5 must be a whole number"),
    ],
)
def test_what_it_cannot_do_is_said(make_agent, says):
    with pytest.raises(ConfigError, match=says):
        make_agent()


def test_adam_without_momentum_is_the_paper_s_inner_step():
    rule = metarl.Reptile(weight(0.0), "tests/Line-v0", rate=0.5, device="cpu").adapter.rule
    assert isinstance(rule, rules.Adam)
    assert (rule.betas, rule.rate) == ((0.0, 0.999), 0.5)


def test_a_mean_that_is_not_finite_is_refused_though_the_query_loss_be_finite():
    agent = small("Reptile")
    batch = gathered(agent)
    theta, moments = batch.adaptation.adapted[-1]
    batch.adaptation.adapted[-1] = torch.cat([theta[:1], torch.full_like(theta[1:], torch.nan)]), moments
    agent.adapter.losses = lambda *_: torch.zeros(2)
    with pytest.raises(NonFiniteError, match="query loss or way of the inner steps is not finite"):
        agent.outer.improve(agent.adapter, agent.meta, agent.outer_state, batch, torch.Generator())


# -- several runs, several numbers of steps


def test_seeds_side_by_side_are_one_more_batched_axis(monkeypatch):
    together, alone = ([small("Reptile", seed=seed) for seed in (0, 1)] for _ in range(2))
    monkeypatch.setattr(Reptile, "improve", lambda *_: pytest.fail("not one run after the other"))
    learn_side_by_side(together, 3)
    monkeypatch.undo()
    for ours, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(ours.meta["theta"], theirs.learn(3, log_interval=9).meta["theta"], rtol=0, atol=1e-12)
        assert ours.outer_state == theirs.outer_state


def test_seeds_that_drew_other_shots_are_taken_in_turn():
    options = {"env_kwargs": {"train_shots": (1, 2)}, "policy_kwargs": {"hidden": (4,)}, "dtype": "float64", "device": "cpu"}
    together, alone = ([metarl.Reptile("MLP", "tests/Images-v0", seed=seed, **options) for seed in range(3)] for _ in range(2))
    learn_side_by_side(together, 4)
    for ours, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(ours.meta["theta"], theirs.learn(4, log_interval=9).meta["theta"], rtol=0, atol=1e-12)


def test_one_that_is_not_finite_stops_alone():
    agents = [small("Reptile", seed=seed) for seed in range(3)]
    agents[1].meta["theta"] = torch.full_like(agents[1].meta["theta"], torch.inf)
    state = copy.deepcopy(agents[1].outer_state)
    assert learn_side_by_side(agents, 2) == [2, 0, 2]
    assert agents[1].outer_state == state


def test_it_is_evaluated_with_other_steps_and_shots_than_it_learned_with():
    agent = small("Reptile").learn(1)  # two inner steps on three of five points
    evaluation = agent.evaluate(2, steps=50, env_kwargs={"shots": 3})
    assert evaluation.steps[-1] == 50
    assert evaluation.values.shape == (2, len(evaluation.steps))
