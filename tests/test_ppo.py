"""PPO and ProMP: identities with the other outer loops, their epochs by hand, the critic, and what is never done."""

import copy
import math

import pytest
import torch
from torch.func import grad

import metarl
from metarl import processes
from metarl.errors import CheckpointError, ConfigError, NonFiniteError
from metarl.outer import PPO, GradientDescent, ProMP
from metarl.outer.clipped_objective import CRITIC, ClippedObjective, Clips, Learned
from metarl.outer.critic import initial_numbers, values_of, values_of_steps
from metarl.outer.meta_gradient import meta_gradient
from metarl.outer.ppo import _moving, adapted_coefficient
from metarl.outer.sampling_correction import credits
from metarl.outer.trpo import surrogate_gradient
from metarl.problems import Rollouts
from metarl.problems.returns import Values, discounted_sums
from tests.ppo_by_hand import ByHand, level
from tests.small import small
from tests.test_trpo import policies_of
from tests.worlds import flat, gathered, make, unflat

SGD = {"optimizer": "SGD", "max_grad_norm": None}
FAR = 1e6
"""A clip range that nothing reaches."""
LVC = {"inner_loss": "likelihood-ratio"}


def stepped(agent, batch=None, generator=None):
    """What an outer step makes of the agent's meta-parameters and state."""
    batch = gathered(agent) if batch is None else batch
    generator = generator or torch.Generator().manual_seed(0)
    return agent.outer.improve(agent.adapter, agent.meta, agent.outer_state, batch, generator)


def same(one, two, tolerance=1e-10):
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=tolerance, atol=tolerance)


# -- identities


@pytest.mark.parametrize("world", ["navigation", "bandit"])
@pytest.mark.parametrize("rule", ["gradient descent", "Meta-SGD", "LSTM2", "TURTLE"])
def test_one_epoch_of_plain_steps_is_the_policy_gradient(rule, world):
    ppo, descent = (
        make(world, rule, inner_steps=2, outer=outer)
        for outer in (PPO(0.1, n_epochs=1, clip_range=FAR, **SGD), GradientDescent(0.1, optimizer="SGD"))
    )
    batch = gathered(descent)
    (ours, _), (theirs, _) = stepped(ppo, batch), stepped(descent, batch)
    same(theirs.meta, ours.meta)
    torch.testing.assert_close(ours.metrics["gradient_norm"], theirs.metrics["gradient_norm"])
    assert not torch.equal(flat(ours.meta), flat(ppo.meta))


def test_promp_without_penalties_is_maml_of_low_variance_curvature():
    rollouts = Rollouts(trajectories=3, **LVC)
    agent = make("navigation", inner_steps=2, outer=ProMP(0.1, n_epochs=1, inner_kl_coef=0.0, **SGD), rollouts=rollouts)
    batch = gathered(agent)
    outcome, _ = stepped(agent, batch)
    _, gradient = meta_gradient(agent.adapter, agent.meta, batch.experiences, batch.query, batch.count)
    for name, value in gradient.items():
        torch.testing.assert_close(agent.meta[name] - outcome.meta[name], 0.1 * value, rtol=1e-8, atol=1e-10)


def test_promp_is_ppo_and_penalties():
    options = {"n_epochs": 3, "learning_rate": 0.05, "clip_range": 0.1}
    promp, ppo = (make("varying start", outer=outer) for outer in (ProMP(inner_kl_coef=0.0, **options), PPO(**options)))
    ppo.outer = PPO(max_grad_norm=None, **options)
    batch = gathered(ppo)
    same(stepped(ppo, batch)[0].meta, stepped(promp, batch)[0].meta)
    promp.outer_state["inner_kl_coefs"] = torch.ones(1, dtype=torch.float64)
    assert (flat(stepped(promp, batch)[0].meta) - flat(stepped(ppo, batch)[0].meta)).abs().max() > 1e-5


@pytest.mark.parametrize("world", ["varying start", "bandit"])
def test_the_gradient_at_the_old_meta_parameters_is_trpo_s(world):
    agent = make(world, "Meta-SGD", inner_steps=2, outer=PPO(n_epochs=1))
    batch = gathered(agent)
    policies = policies_of(agent, batch)
    objective = ClippedObjective(agent.adapter, agent.meta, batch, Clips(0.2))
    theirs, loss = surrogate_gradient(policies, agent.meta)
    ours = grad(lambda values: objective.terms(values).policy)(agent.meta)
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-9, atol=1e-12)
    terms = objective.terms(agent.meta)
    assert max(terms.kl.abs(), terms.clipped) < 1e-12
    torch.testing.assert_close(terms.policy, loss)


@pytest.mark.parametrize("world", ["navigation", "bandit"])
@pytest.mark.parametrize("rule", ["Meta-SGD", "LSTM2", "TURTLE"])
def test_the_replay_s_gradient_elsewhere_equals_the_finite_difference(rule, world):
    rollouts = Rollouts(trajectories=3, **LVC)
    agent = make(world, rule, inner_steps=2, rollouts=rollouts, outer=PPO(critic=(3,), sampling_correction=0.1, ent_coef=0.1))
    batch, generator = gathered(agent), torch.Generator().manual_seed(1)
    numbers = initial_numbers(batch.query, (3,), generator)
    values = values_of(numbers, batch.query).steps.flatten(1)
    learned = Learned(values, values + 1)
    paid = credits(agent.adapter.problem, batch.query)
    objective = ClippedObjective(agent.adapter, agent.meta, batch, Clips(FAR), learned, paid)
    everything = {**agent.meta, **{CRITIC + name: value for name, value in numbers.items()}}
    point = flat(everything)
    point = point + 0.01 * torch.randn(point.shape, generator=generator, dtype=torch.float64)

    def loss(vector):
        terms = objective.terms(unflat(vector, everything))
        state = {"kl_coef": torch.tensor(0.3)}
        return agent.outer.loss(state, terms) + (torch.arange(1, 3) * terms.inner_kls).sum()

    assert torch.autograd.gradcheck(loss, point.requires_grad_(), eps=1e-6, atol=1e-7, rtol=1e-5, fast_mode=True)


# -- the epochs, by hand


def test_epochs_of_the_clipped_surrogate_by_hand():
    agent = level(PPO(0.3, n_epochs=4, clip_range=0.05, ent_coef=0.1, kl_coef=0.2, **SGD))
    batch = gathered(agent)
    outcome, _ = stepped(agent, batch)
    by_hand = ByHand(agent, batch, clip=0.05, ent_coef=0.1, kl_coef=0.2)
    expected = by_hand.descend(0.3, [None] * 4)
    torch.testing.assert_close(outcome.meta["theta"], expected, rtol=1e-9, atol=1e-11)
    assert 0 < outcome.metrics["clip_fraction"] < 1
    assert outcome.metrics["kl"].item() == pytest.approx(by_hand.kl(expected))
    assert outcome.metrics["gradient_steps"] == 4
    unclipped = ByHand(agent, batch, clip=FAR, ent_coef=0.1, kl_coef=0.2).descend(0.3, [None] * 4)
    assert (unclipped - expected).abs().max() > 1e-3
    assert outcome.loss.item() == pytest.approx(ByHand(agent, batch).loss(agent.meta["theta"].clone().requires_grad_()).item())


def test_epochs_of_promp_by_hand():
    penalty = {"inner_kl_coef": 0.7, "inner_target_kl": 0.01}
    agent = level(ProMP(0.3, n_epochs=3, clip_range=0.05, **penalty, optimizer="SGD"), rollouts=LVC)
    batch = gathered(agent)
    by_hand = ByHand(agent, batch, clip=0.05, inner_kl_coef=0.7, ratio=True)
    outcome, state = stepped(agent, batch)
    expected = by_hand.descend(0.3, [None] * 3)
    torch.testing.assert_close(outcome.meta["theta"], expected, rtol=1e-9, atol=1e-11)
    kl = by_hand.inner_kl(expected)
    assert outcome.metrics["inner_kl_of_step_1"].item() == pytest.approx(kl)
    assert outcome.metrics["inner_kl_coef_of_step_1"] == 0.7
    factor = 2 if kl > 0.015 else 0.5 if kl < 0.01 / 1.5 else 1
    assert state["inner_kl_coefs"].tolist() == [factor * 0.7]


def test_promp_takes_the_mean_of_the_inner_steps_penalties():
    agent = make("varying start", inner_steps=2, outer=ProMP())
    batch = gathered(agent)
    objective = ClippedObjective(agent.adapter, agent.meta, batch, Clips(0.3), watches_steps=True)
    point = {**agent.meta, "theta": agent.meta["theta"] + 0.1}
    terms = objective.terms(point)
    stages = agent.adapter.replay_steps(point, batch.experiences, batch.count)
    assert len(stages) == 3
    problem = agent.adapter.problem
    for kl, stage, support in zip(terms.inner_kls, stages, batch.experiences, strict=False):
        outputs = agent.adapter.of_tasks(problem.outputs, point, stage, support)
        expected = (problem.distribution.kl(support.distribution_parameters, outputs) * support.weights).sum(1).mean()
        torch.testing.assert_close(kl, expected)
    state = {"kl_coef": torch.tensor(0.0), "inner_kl_coefs": torch.tensor([2.0, 6.0])}
    assert agent.outer.penalty(state, terms).item() == pytest.approx((terms.inner_kls[0] + 3 * terms.inner_kls[1]).item())


def test_e_maml_s_term_by_hand():
    outer = PPO(0.01, n_epochs=2, clip_range=0.05, sampling_correction=0.5, **SGD)
    agent = level(outer, lengths=(1, 3, 2))
    batch = gathered(agent)
    paid = credits(agent.adapter.problem, batch.query).tolist()
    outcome, _ = stepped(agent, batch)
    by_hand = ByHand(agent, batch, clip=0.05, correction=0.5, paid=tuple(paid))
    expected = by_hand.descend(0.01, [None] * 2)
    torch.testing.assert_close(outcome.meta["theta"], expected, rtol=1e-9, atol=1e-11)
    without = ByHand(agent, batch, clip=0.05).descend(0.01, [None] * 2)
    assert (without - expected).abs().max() > 1e-4


def test_mini_batches_are_parts_of_the_tasks_anew_in_every_epoch():
    agent = level(PPO(0.3, n_epochs=2, minibatches=2, **SGD), lengths=(1, 3, 2, 4, 5))
    batch = gathered(agent)
    generator = torch.Generator().manual_seed(3)
    orders = [torch.randperm(5, generator=generator).tolist() for _ in range(2)]
    assert sorted(orders[0]) == sorted(orders[1]) != orders[0]
    parts = [part for order in orders for part in (order[:3], order[3:])]
    outcome, _ = stepped(agent, batch, torch.Generator().manual_seed(3))
    expected = ByHand(agent, batch).descend(0.3, parts)
    torch.testing.assert_close(outcome.meta["theta"], expected, rtol=1e-9, atol=1e-11)
    assert outcome.metrics["gradient_steps"] == 4
    with pytest.raises(ConfigError, match="minibatches=6 must not be more than the 5 tasks of the meta-batch"):
        PPO(minibatches=6).improve(agent.adapter, agent.meta, agent.outer_state, batch, torch.Generator())


def test_whole_meta_batches_draw_nothing():
    agent = level(PPO(n_epochs=2))
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    stepped(agent, generator=generator)
    assert torch.equal(before, generator.get_state())


# -- KL targets


def test_the_epochs_stop_once_they_are_beyond_the_target():
    agent = level(PPO(0.1, n_epochs=8, **SGD))
    batch = gathered(agent)
    by_hand = ByHand(agent, batch)
    kls = [by_hand.kl(by_hand.descend(0.1, [None] * steps)) for steps in range(5)]
    target = kls[3] / 1.25
    assert kls[4] > 1.5 * target > kls[3] > target
    agent.outer = PPO(0.1, n_epochs=8, target_kl=target, **SGD)
    outcome, state = stepped(agent, batch)
    assert outcome.metrics["gradient_steps"] == 4
    torch.testing.assert_close(outcome.meta["theta"], by_hand.descend(0.1, [None] * 4), rtol=1e-9, atol=1e-11)
    assert outcome.metrics["kl"].item() == pytest.approx(kls[4])
    assert state["kl_coef"] == 0


@pytest.mark.parametrize(("target", "factor"), [(1e-6, 2.0), (1e6, 0.5), (None, 1.0)])
def test_the_penalty_goes_after_its_target_and_no_epoch_is_left_out(target, factor):
    agent = level(PPO(0.1, n_epochs=3, kl_coef=0.4, target_kl=target, **SGD))
    outcome, state = stepped(agent)
    assert state["kl_coef"].item() == pytest.approx(0.4 * factor)
    assert outcome.metrics["kl_coef"].item() == pytest.approx(0.4)
    assert outcome.metrics["gradient_steps"] == 3


def test_coefficients_are_doubled_and_halved():
    kls = torch.tensor([0.016, 0.0149, 0.0067, 0.0066])
    assert adapted_coefficient(torch.ones(4), kls, 0.01, first=1.0).tolist() == [2, 1, 1, 0.5]


@pytest.mark.parametrize(("kl", "end"), [(1.0, 3 * 2.0**10), (0.0, 3 * 2.0**-10)])
def test_a_coefficient_that_does_not_help_is_not_doubled_for_ever(kl, end):
    coefficient = torch.tensor(3.0)
    for _ in range(40):
        coefficient = adapted_coefficient(coefficient, torch.tensor(kl), 0.01, first=3.0)
    assert coefficient.item() == end


@pytest.mark.parametrize(("target", "coefficients"), [(1e-9, [1.4, 1.4]), (1e9, [0.35, 0.35]), (None, [0.7, 0.7])])
def test_promp_s_coefficients_are_each_inner_step_s(target, coefficients):
    agent = make("varying start", inner_steps=2, outer=ProMP(inner_kl_coef=0.7, inner_target_kl=target))
    _, state = stepped(agent)
    assert state["inner_kl_coefs"].tolist() == pytest.approx(coefficients)
    assert agent.outer_state["inner_kl_coefs"].tolist() == [0.7, 0.7]


# -- the critic


def queried(**rollouts):
    """Query experience of tasks of three and five steps (the time limit), two trajectories each, with a reward of about one."""
    agent = level("ppo", lengths=(3, 9), rollouts={"trajectories": 2, "discount": 0.5, "gae_lambda": 0.25, **rollouts})
    return agent.adapter.problem, gathered(agent).query


def test_a_critic_s_values_take_the_baseline_s_place():
    problem, query = queried()
    steps = torch.rand(2, 2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    changed, targets = problem.revalued(query, Values(steps, torch.full((2, 2), 7.0, dtype=torch.float64)))
    for task, length in enumerate((3, 5)):
        for trajectory in range(2):
            rewards = query.by_trajectory(query.rewards)[task, trajectory].tolist()
            values, advantage = [*steps[task, trajectory, :length].tolist(), 0.0], 0.0
            for t in reversed(range(length)):
                advantage = rewards[t] + 0.5 * values[t + 1] - values[t] + 0.5 * 0.25 * advantage
                ours = (query.by_trajectory(part)[task, trajectory, t].item() for part in (changed.advantages, targets))
                assert tuple(ours) == pytest.approx((advantage, advantage + values[t]))
    assert targets[~query.happened].eq(0).all()
    same_fields = set(query._fields) - {"advantages", "baselines", "without_signal"}
    assert all(getattr(changed, name) is getattr(query, name) for name in same_fields)


def test_a_critic_values_what_a_time_limit_cuts_off_and_nothing_else():
    problem, query = queried(time_limit_value=True, baseline="linear", gae_lambda=1.0)
    assert query.terminated.tolist() == [[True, True], [False, False]]
    zero = torch.zeros(2, 2, 5, dtype=torch.float64)
    changed, _ = problem.revalued(query, Values(zero, torch.full((2, 2), 7.0, dtype=torch.float64)))
    without, _ = problem.revalued(query, Values(zero, torch.zeros(2, 2, dtype=torch.float64)))
    differences = query.by_trajectory(changed.advantages - without.advantages)
    assert differences[0].abs().max() == 0
    torch.testing.assert_close(differences[1, 0], 7 * 0.5 ** torch.arange(5.0, 0, -1).double())


def test_the_same_values_give_the_same_advantages():
    for how in ("raw", "centred", "normalised"):
        problem, query = queried(advantages=how, baseline="linear")
        rewards = query.by_trajectory(query.rewards)
        values = problem._values(
            type(
                "T", (), {"observations": query.observations.view(2, 2, 5, 1), "happened": query.by_trajectory(query.happened)}
            ),
            discounted_sums(rewards, 0.5),
        )
        changed, _ = problem.revalued(query, values)
        torch.testing.assert_close(changed.advantages, query.advantages)
        torch.testing.assert_close(changed.baselines, query.baselines)


def test_a_critic_sees_the_observation_and_the_time():
    _, query = queried()
    numbers = initial_numbers(query, (4, 3), torch.Generator().manual_seed(0))
    assert [tuple(value.shape) for value in numbers.values()] == [(4, 2), (4,), (3, 4), (3,), (1, 3), (1,)]

    def by_hand(observation, time):
        x = torch.cat([observation, torch.tensor([time / 100], dtype=torch.float64)])
        for layer in (0, 2, 4):
            x = numbers[f"{layer}.weight"] @ x + numbers[f"{layer}.bias"]
            x = x.tanh() if layer < 4 else x
        return x.item()

    values = query.by_trajectory(values_of_steps(numbers, query))
    observations = query.observations.view(2, 2, 5, 1)
    assert values[1, 1, 3].item() == pytest.approx(by_hand(observations[1, 1, 3], 3))
    final = values_of(numbers, query).final
    assert final[1, 0].item() == pytest.approx(by_hand(query.last_observations[1, 0], 5))
    again = initial_numbers(query, (4, 3), torch.Generator().manual_seed(0))
    assert all(torch.equal(value, again[name]) for name, value in numbers.items())


def test_the_critic_descends_its_squared_error_beside_the_policy():
    agent = level(PPO(0.1, n_epochs=1, critic=(3,), vf_coef=0.7, **SGD), rollouts={"gae_lambda": 0.5})
    batch = gathered(agent)
    numbers = initial_numbers(batch.query, (3,), torch.Generator().manual_seed(5))
    agent.outer_state["critic"] = numbers
    outcome, state = stepped(agent, batch)
    query, targets = agent.adapter.problem.revalued(batch.query, values_of(numbers, batch.query))
    weights = query.weights / 2  # the mean over two tasks of the means over their steps

    def error(numbers):
        return (weights * (values_of_steps(numbers, query) - targets).square()).sum()

    for name, gradient in grad(error)(numbers).items():
        torch.testing.assert_close(state["critic"][name], numbers[name] - 0.1 * 0.7 * gradient)
    assert outcome.metrics["value_loss"] < error(numbers)
    # the policy's step is along the critic's advantages
    batch.query = query
    plain = level(PPO(0.1, n_epochs=1, **SGD))
    torch.testing.assert_close(outcome.meta["theta"], stepped(plain, batch)[0].meta["theta"])
    assert query.advantages.sub(outcome.query.advantages).abs().max() == 0


def test_a_value_beyond_its_clip_learns_nothing_more():
    _, query = queried()
    numbers = {CRITIC + name: value for name, value in initial_numbers(query, (), torch.Generator().manual_seed(0)).items()}
    now = values_of_steps({name.removeprefix(CRITIC): value for name, value in numbers.items()}, query)
    objective = ClippedObjective.__new__(ClippedObjective)
    objective.clips = Clips(0.2, 0.5)
    for before, expected in ((now - 2, (0.5 - 3) ** 2), (now + 0.25, (-0.25 + 3.25 - 3 - 2.75) ** 2)):
        targets = before + 3
        losses = objective._value_losses(numbers, query, Learned(before, targets))
        value = before + (now - before).clamp(-0.5, 0.5)
        torch.testing.assert_close(losses, (value - targets).square())
        if expected == 6.25:
            torch.testing.assert_close(losses, torch.full_like(losses, expected))
    objective.clips = Clips(0.2)
    torch.testing.assert_close(objective._value_losses(numbers, query, Learned(now - 2, now + 1)), torch.ones_like(now))


def test_a_critic_starts_in_the_first_step_and_follows_the_run():
    agent = small("MAML by PPO")
    assert agent.outer_state["critic"] == {}
    agent.learn(1)
    first = agent.outer_state["critic"]
    assert {CRITIC + name for name in first} <= set(agent.outer_state["optimizer"])
    agent.learn(1)
    assert agent.outer_state["critic"].keys() == first.keys()
    assert all(not torch.equal(agent.outer_state["critic"][name], value) for name, value in first.items())
    assert not any(name.startswith(CRITIC) for name in agent.meta)


def test_a_critic_of_another_shape_does_not_follow():
    agent = small("MAML by PPO").learn(1)
    agent.outer.require_state(agent.meta, agent.outer_state, agent.outer_state)
    wrong = copy.deepcopy(agent.outer_state)
    wrong["critic"]["0.weight"] = wrong["critic"]["0.weight"][:, :1]
    with pytest.raises(CheckpointError, match=r"its optimiser's critic.0.weight.* is not of this agent's critic"):
        agent.outer.require_state(agent.meta, agent.outer_state, wrong)


def test_all_that_is_learned_moves_and_averages_do_not():
    agent = level(PPO(), cls=metarl.MetaSGD, rollouts={"normalise_observations": True})
    before = {name: value.clone() for name, value in agent.meta.items()}
    outcome, _ = stepped(agent)
    moved = {name for name, value in outcome.meta.items() if not torch.equal(value, before[name])}
    assert moved == {"theta", "rule.alpha"} == set(_moving(agent.meta, agent.outer_state))


def test_without_inner_steps_it_is_plain_ppo():
    agent = level(PPO(0.1, n_epochs=2, clip_range=FAR, **SGD), inner_steps=0)
    batch = gathered(agent)
    outcome, _ = stepped(agent, batch)
    theta = agent.meta["theta"]
    for _ in range(2):
        by_hand = ByHand(agent, batch, clip=FAR)

        def loss(theta, by_hand=by_hand):
            tasks = [type(batch.query)(*(part[i] for part in batch.query)) for i in range(2)]
            losses = []
            for task in tasks:
                ratios = (by_hand.log_prob(theta, task) - task.log_probs).exp()
                losses.append(-(task.weights * task.advantages * ratios)[task.happened].sum())
            return sum(losses) / 2

        theta = theta - 0.1 * grad(loss)(theta)
    torch.testing.assert_close(outcome.meta["theta"], theta)


# -- what is refused


def test_a_step_that_is_not_finite_is_refused():
    agent = level(PPO(0.1, n_epochs=2, **SGD))
    batch = gathered(agent)
    batch.query = batch.query._replace(advantages=batch.query.advantages * torch.inf)
    before, state = agent.meta["theta"].clone(), copy.deepcopy(agent.outer_state)
    with pytest.raises(NonFiniteError, match="the PPO loss or gradient is not finite: the outer step was refused"):
        stepped(agent, batch)
    assert torch.equal(agent.meta["theta"], before)
    assert agent.outer_state == state


def test_where_they_cannot_serve_they_say_so():
    with pytest.raises(ConfigError, match=r"outer=PPO\(\) needs a policy; predictors have no ratios to clip"):
        metarl.MAML("weight", "tests/Line-v0", outer=PPO())
    with pytest.raises(ConfigError, match=r"outer=ProMP\(\) needs a policy"):
        metarl.ProtoNet("MLP", "tests/Images-v0", outer=ProMP())
    with pytest.raises(ConfigError, match=r"outer=ProMP\(\) watches the policies of the inner steps, and there are none"):
        level("promp", inner_steps=0, rollouts=LVC)
    with pytest.raises(ConfigError, match=r"inner_loss='log-likelihood' is not ProMP: use rollouts=metarl.Rollouts"):
        level("promp")
    with pytest.raises(ConfigError, match=r"sampling_correction=0.5 pays for support trajectories, and inner_steps=0"):
        level(PPO(sampling_correction=0.5), inner_steps=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_epochs": 0}, "n_epochs=0 must be above zero"),
        ({"n_epochs": 1.5}, r"n_epochs=1\.5 must be a whole number"),
        ({"minibatches": 0}, "minibatches=0 must be above zero"),
        ({"minibatches": 2.5}, r"minibatches=2\.5 must be a whole number"),
        ({"clip_range": 0}, "clip_range=0 must be above zero"),
        ({"target_kl": -1}, "target_kl=-1 must be above zero"),
        ({"kl_coef": -1}, "kl_coef=-1 must lie in"),
        ({"ent_coef": -0.1}, r"ent_coef=-0\.1 must lie in"),
        ({"sampling_correction": "x"}, "sampling_correction='x' must be a number"),
        ({"max_grad_norm": 0}, "max_grad_norm=0 must be above zero"),
        ({"critic": (8, 0)}, r"critic\[1\]=0 must be above zero"),
        ({"vf_coef": 0.1}, r"vf_coef=0\.1 has no effect without a critic: give critic="),
        ({"clip_range_vf": 0.1}, r"clip_range_vf=0\.1 has no effect without a critic"),
        ({"optimizer": "Adm"}, "optimizer='Adm' is not known: did you mean 'Adam'"),
        ({"learning_rate": -1}, "learning_rate=-1 must be above zero"),
    ],
)
@pytest.mark.parametrize("kind", [PPO, ProMP])
def test_bad_options_are_named(kind, options, says):
    with pytest.raises(ConfigError, match=says):
        kind(**options)


def test_bad_options_of_promp_are_named():
    with pytest.raises(ConfigError, match="inner_kl_coef=-1 must lie in"):
        ProMP(inner_kl_coef=-1)
    with pytest.raises(ConfigError, match="inner_target_kl=0 must be above zero"):
        ProMP(inner_target_kl=0)
    assert ProMP().critic is None
    assert ProMP(critic=[8]).critic == (8,)
    assert math.isclose(ProMP().inner_kl_coef, 5e-4)


def test_processes_share_each_mini_batch_s_tasks(monkeypatch):
    outer, parts = PPO(n_epochs=1, minibatches=3), []
    for rank in (0, 1):
        monkeypatch.setattr(processes, "count", lambda: 2)
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        parts.append(list(outer._parts(2, torch.Generator().manual_seed(1))))
    order = torch.randperm(4, generator=torch.Generator().manual_seed(1)).tensor_split(3)
    for whole, *shares in zip(order, *parts, strict=True):
        theirs = [rows + 2 * rank for rank, (rows, size) in enumerate(shares) if size != math.inf]
        assert sorted(torch.cat(theirs).tolist()) == sorted(whole.tolist())
        assert {size for _, size in shares} <= {len(whole), math.inf}
    assert any(size == math.inf for share in parts for _, size in share)  # of three parts of four tasks


def test_what_stands_for_no_task_counts_nothing():
    agent = level(PPO())
    objective = ClippedObjective(agent.adapter, agent.meta, gathered(agent), Clips(0.2))
    values = objective.terms(agent.meta, torch.zeros(1, dtype=torch.long), math.inf)
    assert all(value.abs().sum() == 0 for value in values)
    gradients = grad(lambda meta: objective.terms(meta, torch.zeros(1, dtype=torch.long), math.inf).policy)(agent.meta)
    assert gradients["theta"].abs().max() == 0
