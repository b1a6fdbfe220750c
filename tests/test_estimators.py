"""The estimators of the inner gradient on a decision process whose trajectories can all be listed: exact expectations.

Two steps, two actions; the second state is the first action. A set of trajectories is a task, so that one replay adapts to
every set that could have been sampled, and sums weighted with the sets' probabilities are expectations.
"""

from functools import cache, partial
from itertools import product
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.func import grad, jacrev

from metarl.adapters import GradientAdapter
from metarl.errors import ConfigError
from metarl.learner import Learner
from metarl.outer import PPO, TRPO, ProMP
from metarl.outer.clipped_objective import ClippedObjective, Clips
from metarl.outer.meta_gradient import Batch
from metarl.outer.sampling_correction import credits
from metarl.problems import PolicyProblem, Rollouts
from metarl.problems.estimators import ANY_ORDER, Decisions, dice, earlier, loaded_dice, tmaml
from metarl.problems.returns import Values, discounted_sums
from metarl.rules import GradientDescent
from metarl.sampling.distributions import Categorical
from metarl.sampling.stochastic_policy import StochasticPolicy
from metarl.sampling.trajectories import Trajectories

STEPS, STATES, ACTIONS = 2, 3, 2
TRAJECTORIES = list(product(range(ACTIONS), repeat=STEPS))
REWARDS = torch.tensor([[3.0, 2.0], [1.0, 4.0], [5.0, 2.5]], dtype=torch.float64)  # by state and action
THETA = torch.tensor([0.3, -0.2, 0.5, 0.1, -0.4, 0.6], dtype=torch.float64)
RATE = 0.25  # a power of two, as rules are built in float32
ALL = ["log-likelihood", "likelihood-ratio", *ANY_ORDER]
EXACT_CURVATURE = list(ANY_ORDER)


class Listed(PolicyProblem):
    """Values what the policy at ``THETA`` is worth, whatever was sampled: a baseline that no action changes."""

    worth: ClassVar[torch.Tensor]

    def _values(self, trajectories, returns):
        return Values((trajectories.observations * self.worth).sum(-1), torch.zeros_like(returns[..., 0]))


def states_of(actions):
    """The states of one trajectory: the first, and that which the first action leads to."""
    return [0, 1 + actions[0]]


@cache
def made(inner_loss="log-likelihood", rate=RATE, dice_lambda=1.0):
    """An adapter whose policy is a table of logits, without an environment."""
    policy = StochasticPolicy(nn.Linear(STATES, ACTIONS, bias=False), Categorical(ACTIONS)).double()
    rollouts = Rollouts(discount=1.0, advantages="raw", inner_loss=inner_loss, dice_lambda=dice_lambda)
    learner = Learner(policy)
    problem = Listed(Categorical(ACTIONS), lambda rows: None, rollouts)
    # losses are means over time-steps, returns are sums
    return GradientAdapter(problem, learner, GradientDescent(learner.layout, rate=STEPS * rate).double(), steps=1)


def log_pi(theta):
    return theta.view(ACTIONS, STATES).T.log_softmax(-1)


def log_probability(theta, actions):
    """Of one trajectory."""
    return sum(log_pi(theta)[state, action] for state, action in zip(states_of(actions), actions, strict=True))


def expected_return(theta):
    total = 0
    for actions in TRAJECTORIES:
        reward = sum(REWARDS[state, action] for state, action in zip(states_of(actions), actions, strict=True))
        total = total + log_probability(theta, actions).exp() * reward
    return total


def _worth():
    pi = log_pi(THETA).exp()
    later = (pi * REWARDS).sum(1)
    first = (pi[0] * (REWARDS[0] + later[1:])).sum()
    return torch.stack([first, later[1], later[2]])


Listed.worth = _worth()


@cache
def sets(size):
    return list(product(TRAJECTORIES, repeat=size))


def samples_of(adapter, chosen, sampler):
    """The experience that sets of trajectories are, with what a sampling policy's logits were, shape (sets, 6)."""
    actions = torch.tensor(chosen)
    states = torch.tensor([[states_of(one) for one in several] for several in chosen])
    logits = torch.stack([theta.view(ACTIONS, STATES).T[rows] for theta, rows in zip(sampler, states, strict=True)])
    count, size = actions.shape[:2]
    return adapter.problem.samples(
        Trajectories(
            observations=nn.functional.one_hot(states, STATES).double(),
            actions=actions,
            rewards=REWARDS[states, actions],
            happened=torch.ones(count, size, STEPS, dtype=torch.bool),
            distribution_parameters=logits,
            last_observations=torch.zeros(count, size, STATES, dtype=torch.float64),
            terminated=torch.ones(count, size, dtype=torch.bool),
            episode_returns=REWARDS[states, actions].sum(2, keepdim=True),
            successes=torch.zeros(count, size, 0, dtype=torch.float64),
        )
    )


def support_of(adapter, size, sampler=THETA):
    return samples_of(adapter, sets(size), sampler.expand(len(sets(size)), -1))


def adapted(adapter, size, sampler=THETA):
    """What every set makes of theta, shape (sets, 6), as a function of theta."""
    support = support_of(adapter, size, sampler)
    return lambda theta: adapter.replay({"theta": theta}, [support], len(sets(size)))[0]


def probabilities(theta, size):
    return torch.stack([sum(log_probability(theta, one) for one in several) for several in sets(size)]).exp()


def curvatures(inner_loss, size=1, dice_lambda=1.0):
    """The second derivative of each set's surrogate return, shape (sets, 6, 6)."""
    through = jacrev(adapted(made(inner_loss, dice_lambda=dice_lambda), size))(THETA)
    return (through - torch.eye(6)) / RATE


def expectation(values, size=1):
    return torch.tensordot(probabilities(THETA, size), values, 1)


HESSIAN = torch.autograd.functional.hessian(expected_return, THETA)


# -- the first derivative


@pytest.mark.parametrize("inner_loss", ALL)
def test_every_surrogate_has_the_policy_gradient(inner_loss):
    ends = adapted(made(inner_loss), 2)(THETA)
    torch.testing.assert_close(ends, adapted(made(), 2)(THETA), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close((expectation(ends, 2) - THETA) / RATE, grad(expected_return)(THETA))


@pytest.mark.parametrize("inner_loss", ALL[1:])
def test_the_loss_of_what_was_sampled_is_minus_the_mean_advantage(inner_loss):
    adapter = made(inner_loss)
    support = support_of(adapter, 1)
    losses = adapter.losses({"theta": THETA}, (THETA.expand(4, -1), {}), support)
    torch.testing.assert_close(losses, -support.advantages.mean(1))


# -- the second derivative


def by_the_table(inner_loss, actions):
    """The second derivative of one trajectory's surrogate as the module's table has it."""
    total, sum_before = torch.zeros(6, 6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    rewards = [REWARDS[state, action] for state, action in zip(states_of(actions), actions, strict=True)]
    for t, (state, action) in enumerate(zip(states_of(actions), actions, strict=True)):

        def log_prob(theta, state=state, action=action):
            return log_pi(theta)[state, action]

        g, h = grad(log_prob)(THETA), torch.autograd.functional.hessian(log_prob, THETA)
        advantage = sum(rewards[t:]) - Listed.worth[state]
        total += advantage * h
        if inner_loss != "log-likelihood":
            total += advantage * torch.outer(g, g)
        if inner_loss in ANY_ORDER:
            weight = sum(rewards[t:]) if inner_loss == "dice" else advantage
            total += weight * (torch.outer(g, sum_before) + torch.outer(sum_before, g))
        sum_before = sum_before + g
    return total


@pytest.mark.parametrize("inner_loss", ALL)
def test_each_curvature_is_the_table_s(inner_loss):
    for ours, actions in zip(curvatures(inner_loss), TRAJECTORIES, strict=True):
        torch.testing.assert_close(ours, by_the_table(inner_loss, actions), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("inner_loss", ALL)
def test_the_expected_curvature_is_the_true_one_where_it_is_said_to_be(inner_loss, size):
    error = (expectation(curvatures(inner_loss, size), size) - HESSIAN).abs().max()
    if inner_loss in EXACT_CURVATURE:
        assert error < 1e-11
    else:
        assert error > 0.05


def test_variances_are_in_the_papers_order():
    variances = {}
    for name in ALL:
        values = curvatures(name)
        variances[name] = expectation((values - expectation(values)).square()).sum().item()
    assert variances["tmaml"] == pytest.approx(variances["loaded-dice"])
    assert 10 * variances["likelihood-ratio"] < variances["loaded-dice"] < variances["dice"] / 10


def test_loaded_dice_goes_from_the_likelihood_ratio_to_no_bias():
    torch.testing.assert_close(curvatures("loaded-dice", dice_lambda=0.0), curvatures("likelihood-ratio"))
    errors = [
        (expectation(curvatures("loaded-dice", dice_lambda=decay)) - HESSIAN).norm().item() for decay in (0.0, 0.5, 0.9, 1.0)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[1] == pytest.approx(errors[0] / 2)  # of two steps, lambda scales what the first action contributes
    assert errors[-1] < 1e-11


def random_decisions(decay=1.0):
    generator = torch.Generator().manual_seed(0)
    log_ratios, advantages, baselines = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64)
    return Decisions(0.3 * log_ratios, advantages, baselines, decay)


def test_tmaml_is_loaded_dice_with_the_same_baseline():
    decisions = random_decisions()
    torch.testing.assert_close(tmaml(decisions), loaded_dice(decisions))
    assert not torch.allclose(dice(decisions), loaded_dice(decisions))


def test_a_control_variate_with_the_step_s_own_ratio_would_be_biased():
    # its expected second derivative is twice the Fisher information times the baseline
    def control(theta, own):
        return torch.stack(
            [-sum(terms(theta, actions, own)) * log_probability(THETA, actions).exp() for actions in TRAJECTORIES]
        ).sum()

    def terms(theta, actions, own):
        states = states_of(actions)
        ratios = [(log_pi(theta) - log_pi(THETA))[s, a].exp() for s, a in zip(states, actions, strict=True)]
        before = [torch.ones_like(ratios[0]), ratios[0]]
        return [Listed.worth[s] * (1 - b * (r if own else 1)) * (1 - r) for s, b, r in zip(states, before, ratios, strict=True)]

    right, wrong = (torch.autograd.functional.hessian(partial(control, own=own), THETA) for own in (False, True))
    assert right.abs().max() < 1e-12
    assert wrong.abs().max() > 0.5


def test_dice_by_hand():
    log_ratios = torch.tensor([[2.0, 3.0]], dtype=torch.float64).log()
    returns, baselines = torch.tensor([[7.0, 4.0]]).double(), torch.tensor([[5.0, 1.0]]).double()
    decisions = Decisions(log_ratios, returns - baselines, baselines)
    assert dice(decisions).tolist()[0] == pytest.approx([7 * (2 - 1) - 5 * (2 - 1) + 2, 4 * 2 * (3 - 1) - 1 * (3 - 1) + 3])
    # the paper's own sum, of rewards 3 and 4: ratios of the actions so far; the return is what summing by parts leaves over
    by_parts = 2 * 3 + 2 * 3 * 4 - 7 - 5 * (2 - 1) - 1 * (3 - 1) + (2 + 3)
    assert dice(decisions).sum().item() == pytest.approx(by_parts)
    assert loaded_dice(decisions._replace(decay=0.5)).tolist()[0] == pytest.approx([2 * 1 + 2, 3 * 2**0.5 * 2 + 3])
    assert earlier(torch.tensor([[1.0, 2.0, 4.0]]), 0.5).tolist() == [[0, 0.5, 1.25]]


# -- the meta-gradient


def exact_meta_gradient(rate, size=1):
    """Of the expected return after an inner step on a set of trajectories that the policy sampled: E-MAML's objective."""
    ends = adapted(made(rate=rate), size)
    return grad(lambda theta: probabilities(theta, size) @ torch.vmap(expected_return)(ends(theta)))(THETA)


def meta_gradient(inner_loss, rate, size=1):
    """The expectation of MAML's meta-gradient, which takes the sampled sets as given."""
    ends = adapted(made(inner_loss, rate), size)
    return grad(lambda theta: probabilities(THETA, size) @ torch.vmap(expected_return)(ends(theta)))(THETA)


def bias(inner_loss, rate, size=1):
    return (meta_gradient(inner_loss, rate, size) - exact_meta_gradient(rate, size)).norm().item()


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("inner_loss", ALL)
def test_the_meta_gradient_s_bias_is_of_first_order_in_the_rate_or_of_second(inner_loss, size):
    small, smaller = bias(inner_loss, 2**-10, size), bias(inner_loss, 2**-11, size)
    assert small / smaller == pytest.approx(4 if inner_loss in EXACT_CURVATURE else 2, rel=0.02)


def test_at_a_usual_rate_an_exact_curvature_has_the_least_bias():
    biases = {name: bias(name, 2**-4) for name in ALL}
    assert max(biases[name] for name in EXACT_CURVATURE) < 0.2 * min(biases[name] for name in ALL[:2])


def outer_gradients(inner_loss, rate, correction, size=1):
    """The gradient that PPO takes in its first epoch on every support set and query trajectory, and their probabilities."""
    adapter = made(inner_loss, rate)
    support, ends = support_of(adapter, size), adapted(adapter, size)(THETA)
    gradients, chances = [], []
    for row, (end, chance) in enumerate(zip(ends, probabilities(THETA, size), strict=True)):
        query = samples_of(adapter, [(one,) for one in TRAJECTORIES], end.expand(len(TRAJECTORIES), -1))
        for i, actions in enumerate(TRAJECTORIES):
            one = type(query)(*(part[i : i + 1] for part in query))
            batch = Batch([type(support)(*(part[row : row + 1] for part in support))], one, 1)
            paid = credits(adapter.problem, one)
            terms = ClippedObjective(adapter, {"theta": THETA}, batch, Clips(0.2), None, paid).terms

            def loss(values, terms=terms):
                made_of = terms(values)
                return made_of.policy + correction * made_of.correction

            gradients.append(grad(loss)({"theta": THETA})["theta"])
            chances.append(chance * log_probability(end, actions).exp())
    return torch.stack(gradients), torch.stack(chances)


def test_e_maml_s_term_makes_the_log_likelihood_exact():
    gradients, chances = outer_gradients("log-likelihood", RATE, 1.0)
    exact = -exact_meta_gradient(RATE) / STEPS  # losses are means over time-steps
    torch.testing.assert_close(chances @ gradients, exact, rtol=1e-10, atol=1e-12)
    without, _ = outer_gradients("log-likelihood", RATE, 0.0)
    torch.testing.assert_close(chances @ without, -meta_gradient("log-likelihood", RATE) / STEPS, rtol=1e-9, atol=1e-12)
    assert (chances @ without - exact).norm() > 0.03 * exact.norm()
    # at the price of variance
    variances = [(chances @ (g - chances @ g).square()).sum() for g in (gradients, without)]
    assert variances[0] > 3 * variances[1]


def test_with_another_curvature_e_maml_s_term_counts_twice():
    gradients, chances = outer_gradients("loaded-dice", RATE, 1.0)
    assert (chances @ gradients + exact_meta_gradient(RATE) / STEPS).norm() > 0.01


def test_a_task_is_credited_with_what_the_others_do_not_return():
    adapter = made()
    query = samples_of(adapter, [((0, 0), (0, 1)), ((1, 0), (1, 0)), ((1, 1), (1, 1))], THETA.expand(3, -1))
    # mean returns: (3 + 1 + 3 + 4) / 2 = 5.5, 2 + 5 = 7, 2 + 2.5 = 4.5; two steps each
    assert credits(adapter.problem, query).tolist() == pytest.approx([-0.125, 1.0, -0.875])
    normalised = Listed(Categorical(2), lambda rows: None, Rollouts(discount=1.0))
    deviation = torch.tensor([5.5, 7, 4.5]).std(correction=0).item()
    assert credits(normalised, query).tolist() == pytest.approx([-0.125 / deviation, 1 / deviation, -0.875 / deviation])
    discounted = Listed(Categorical(2), lambda rows: None, Rollouts(discount=0.5, advantages="raw"))
    assert credits(discounted, query).tolist()[1] == pytest.approx((4.5 - (4.25 + 3.25) / 2) / 2)


# -- replays under other parameters


@pytest.mark.parametrize("inner_loss", ALL)
def test_a_replay_elsewhere_weighs_actions_by_their_importance(inner_loss):
    elsewhere = THETA + torch.tensor([0.5, -0.3, 0.2, -0.4, 0.6, -0.1], dtype=torch.float64)
    ends = adapted(made(inner_loss), 1)(elsewhere)
    error = ((expectation(ends) - elsewhere) / RATE - grad(expected_return)(elsewhere)).norm()
    if inner_loss in EXACT_CURVATURE:
        assert error < 1e-12
    else:
        assert error > 0.01


# -- the problem's part


@pytest.mark.parametrize("how", ["raw", "centred", "normalised"])
def test_advantages_and_baselines_add_up_to_returns(how):
    problem = Listed(Categorical(ACTIONS), lambda rows: None, Rollouts(discount=0.9, advantages=how))
    samples = samples_of(made_over(problem), sets(2), THETA.expand(16, -1))
    returns = discounted_sums(samples.by_trajectory(samples.rewards), 0.9).flatten(1)
    raw = returns - (samples.observations * Listed.worth).sum(-1)
    scale = raw.std(1, correction=0, keepdim=True) + 1e-8 if how == "normalised" else 1
    signal = samples.without_signal == 0
    expected = (returns / scale)[signal]
    torch.testing.assert_close((samples.advantages + samples.baselines)[signal], expected)
    if how != "raw":
        assert samples.baselines[~signal].eq(0).all()
        assert (~signal).any()


def made_over(problem):
    return made().over(problem)


@pytest.mark.parametrize("inner_loss", ANY_ORDER)
def test_what_needs_whole_trajectories_is_not_thinned(inner_loss):
    adapter = made(inner_loss)
    TRPO().check(adapter)
    with pytest.raises(ConfigError, match=r"fisher_fraction=0.5 takes single steps .* needs whole ones: use fisher_fraction=1"):
        TRPO(fisher_fraction=0.5).check(adapter)
    PPO().check(adapter)
    with pytest.raises(ConfigError, match=f"inner_loss='{inner_loss}' is not ProMP"):
        ProMP().check(adapter)


def test_bad_options_are_named():
    with pytest.raises(
        ConfigError, match=r"dice_lambda=0.5 has no effect with inner_loss='dice': use inner_loss='loaded-dice'"
    ):
        Rollouts(inner_loss="dice", dice_lambda=0.5)
    with pytest.raises(ConfigError, match=r"dice_lambda=2 must lie in \[0, 1\]"):
        Rollouts(inner_loss="loaded-dice", dice_lambda=2)
    with pytest.raises(ConfigError, match="inner_loss='loaded' is not known: did you mean 'loaded-dice'"):
        Rollouts(inner_loss="loaded")
