"""Returns, advantages and the baseline against numbers worked out by hand."""

import pytest
import torch

from metarl.problems.returns import (
    TimeLimit,
    discounted_sums,
    features,
    generalised_advantages,
    has_signal,
    linear_baseline,
    normalise,
)

REWARDS = torch.tensor([1.0, 2.0, 4.0, 0.0], dtype=torch.float64)
VALUES = torch.tensor([0.5, 1.0, 2.0, 9.0], dtype=torch.float64)
HAPPENED = torch.tensor([True, True, True, False])


def test_discounted_sums_by_hand():
    assert discounted_sums(REWARDS, 0.5).tolist() == [1 + 0.5 * 2 + 0.25 * 4, 2 + 0.5 * 4, 4, 0]


def test_advantages_by_hand():
    # deltas with gamma 0.5: 1 + 0.5 - 0.5 = 1, 2 + 1 - 1 = 2, 4 + 0 - 2 = 2 (no value after the end)
    advantages = generalised_advantages(REWARDS, VALUES, HAPPENED, 0.5, 0.5)
    assert advantages.tolist() == [1 + 0.25 * 2 + 0.0625 * 2, 2 + 0.25 * 2, 2, 0]


def test_ignoring_the_end_is_wrong():
    right = generalised_advantages(REWARDS, VALUES, HAPPENED, 0.5, 0.5)
    wrong = generalised_advantages(REWARDS, VALUES, torch.ones(4, dtype=torch.bool), 0.5, 0.5)
    assert not torch.allclose(right[:3], wrong[:3])


def test_lambda_one_is_the_return_minus_the_baseline():
    advantages = generalised_advantages(REWARDS, VALUES, HAPPENED, 0.9, 1.0)
    torch.testing.assert_close(advantages, (discounted_sums(REWARDS, 0.9) - VALUES) * HAPPENED)


def test_lambda_zero_is_the_temporal_difference():
    advantages = generalised_advantages(REWARDS, VALUES, HAPPENED, 0.9, 0.0)
    assert advantages.tolist() == pytest.approx([1 + 0.9 * 1.0 - 0.5, 2 + 0.9 * 2.0 - 1.0, 4 - 2.0, 0])


def test_the_baseline_fits_what_is_linear_in_its_features():
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(3, 5, 40, 2, generator=generator, dtype=torch.float64)
    time = torch.arange(40, dtype=torch.float64) / 100
    returns = 3 * observations[..., 0] - 2 * observations[..., 1] ** 2 + 5 * time - time**3 + 1
    happened = torch.ones(3, 5, 40, dtype=torch.bool)
    happened[:, 0, 10:] = False
    values = linear_baseline(observations, returns, happened).steps
    torch.testing.assert_close(values[happened], returns[happened], rtol=0, atol=1e-4)


def test_the_baseline_is_each_tasks_own():
    observations = torch.randn(2, 4, 30, 2, dtype=torch.float64)
    returns = torch.stack([observations[0, ..., 0], -observations[1, ..., 0]])
    happened = torch.ones(2, 4, 30, dtype=torch.bool)
    torch.testing.assert_close(linear_baseline(observations, returns, happened).steps, returns, rtol=0, atol=1e-4)


def test_the_baseline_survives_singular_features():
    observations = torch.zeros(1, 16, 20, 2)  # the same state throughout, every trajectory over after one step
    happened = torch.zeros(1, 16, 20, dtype=torch.bool)
    happened[..., 0] = True
    values = linear_baseline(observations, torch.full((1, 16, 20), 7.0), happened).steps
    assert values.isfinite().all()
    torch.testing.assert_close(values[..., 0], torch.full((1, 16), 7.0), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("trajectories", "steps"), [(2, 5), (1, 60)])
def test_the_baseline_of_little_data_is_the_mean(trajectories, steps):
    """Six features, fewer than twelve steps; or a single trajectory, whose smooth returns a fit would explain away."""
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(1, trajectories, steps, 1, generator=generator, dtype=torch.float64)
    returns = torch.randn(1, trajectories, steps, generator=generator, dtype=torch.float64)
    happened = torch.ones(1, trajectories, steps, dtype=torch.bool)
    values = linear_baseline(observations, returns, happened).steps
    torch.testing.assert_close(values, returns.mean().expand_as(values))


def test_the_baseline_is_fitted_from_twice_as_many_steps_as_features():
    observations = torch.linspace(-1, 1, 12, dtype=torch.float64).view(1, 2, 6, 1)
    returns = 3 * observations[..., 0]
    happened = torch.ones(1, 2, 6, dtype=torch.bool)
    torch.testing.assert_close(linear_baseline(observations, returns, happened).steps, returns, rtol=0, atol=1e-4)
    happened[0, 1, 5] = False
    values = linear_baseline(observations, returns, happened).steps
    torch.testing.assert_close(values, returns[happened].mean().expand_as(values))


def test_what_did_not_happen_says_nothing_to_the_baseline():
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(1, 3, 10, 1, generator=generator, dtype=torch.float64)
    returns = torch.randn(1, 3, 10, generator=generator, dtype=torch.float64)
    happened = torch.ones(1, 3, 10, dtype=torch.bool)
    happened[0, 1, 4:] = False
    expected = linear_baseline(observations, returns, happened).steps
    for nothing in (torch.nan, torch.inf, -1e30):
        noisy = [torch.where(happened[..., None], observations, nothing), torch.where(happened, returns, nothing)]
        assert torch.equal(linear_baseline(*noisy, happened).steps, expected)


def test_what_did_not_happen_says_nothing_to_advantages():
    expected = generalised_advantages(REWARDS, VALUES, HAPPENED, 0.5, 0.5)
    for nothing in (torch.nan, torch.inf):
        rewards, values = (torch.where(HAPPENED, part, nothing) for part in (REWARDS, VALUES))
        assert torch.equal(generalised_advantages(rewards, values, HAPPENED, 0.5, 0.5), expected)
        advantages = torch.where(HAPPENED, VALUES, nothing)[None, None]
        happened = HAPPENED[None, None]
        assert torch.equal(normalise(advantages, happened, "normalised"), normalise(VALUES[None, None], happened, "normalised"))


def test_a_value_at_the_time_limit_by_hand():
    # as above, but the last delta is 4 + 0.5 * 6 - 2 = 5
    advantages = generalised_advantages(REWARDS, VALUES, HAPPENED, 0.5, 0.5, torch.tensor(6.0, dtype=torch.float64))
    assert advantages.tolist() == [1 + 0.25 * 2 + 0.0625 * 5, 2 + 0.25 * 5, 5, 0]


def test_the_baseline_at_a_time_limit_values_what_was_cut_off():
    """The reward is the state, which halves: worth s / (1 - 0.5 * 0.9) from any state on, wherever the episode is cut off."""
    starts = torch.linspace(-1, 1, 8, dtype=torch.float64).view(1, 8, 1)
    states = starts * 0.5 ** torch.arange(5, dtype=torch.float64)
    happened = torch.ones(1, 8, 4, dtype=torch.bool)
    happened[0, 1, 2:] = False  # cut off after two steps
    states[0, 7, 3] = 0  # goes straight to the state that is worth nothing, and terminates
    happened[0, 7, 3:] = False
    rewards = torch.where(happened, states[..., :4], 0)
    rewards[0, 7, :3] = torch.tensor([1.0, 0.5, 0.25 / 0.55], dtype=torch.float64)
    last = torch.stack([states[0, row, int(happened[0, row].sum())] for row in range(8)]).view(1, 8, 1)
    reached = torch.tensor([[True] * 7 + [False]])
    returns = discounted_sums(rewards, 0.9)
    values = linear_baseline(states[..., :4, None], returns, happened, limit=TimeLimit(last, reached, 0.9))
    expected = states / 0.55
    torch.testing.assert_close(values.steps[happened], expected[..., :4][happened], rtol=0, atol=1e-3)
    torch.testing.assert_close(values.final[0, :7], last[0, :7, 0] / 0.55, rtol=0, atol=1e-3)
    assert values.final[0, 7] == 0
    wrong = linear_baseline(states[..., :4, None], returns, happened)  # Finn's: nothing is worth anything after the limit
    assert (wrong.steps[happened] - expected[..., :4][happened]).abs().max() > 0.05
    assert wrong.final.tolist() == [[0] * 8]


def test_the_baseline_at_a_time_limit_knows_the_time():
    """A reward of t at step t is worth 2 t + 2 from then on, at a discount of one half."""
    lengths = torch.arange(20, 52, 4)
    happened = torch.arange(50) < lengths[None, :, None]
    rewards = torch.where(happened, torch.arange(50, dtype=torch.float64), 0)
    nothing = torch.zeros(1, 8, 50, 1, dtype=torch.float64)
    limit = TimeLimit(nothing[:, :, 0], torch.ones(1, 8, dtype=torch.bool), 0.5)
    values = linear_baseline(nothing, discounted_sums(rewards, 0.5), happened, limit=limit)
    torch.testing.assert_close(values.final[0], 2.0 * lengths + 2, rtol=0, atol=0.05, check_dtype=False)
    torch.testing.assert_close(values.steps[0, 7, :48], 2 * torch.arange(48.0) + 2, rtol=0, atol=0.05, check_dtype=False)


def test_normalisation_counts_only_what_happened():
    advantages = torch.tensor([[[1.0, 3.0, 0.0], [5.0, 0.0, 0.0]]])
    happened = torch.tensor([[[True, True, False], [True, False, False]]])
    assert torch.equal(normalise(advantages, happened, "raw"), advantages)
    assert normalise(advantages, happened, "centred").tolist() == [[[-2, 0, 0], [2, 0, 0]]]
    expected = torch.tensor([[[-2.0, 0, 0], [2.0, 0, 0]]]) / (8 / 3) ** 0.5
    torch.testing.assert_close(normalise(advantages, happened, "normalised"), expected)


def advantages_of(rewards, happened, observations):
    """Return the signal and the normalised advantages of tasks at a discount of 0.99."""
    returns = discounted_sums(rewards, 0.99)
    values = linear_baseline(observations, returns, happened).steps
    advantages = generalised_advantages(rewards, values, happened, 0.99, 1.0)
    signal = has_signal(returns, advantages, happened)
    return signal, normalise(advantages, happened, "normalised", signal), normalise(advantages, happened, "normalised")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("reward", [0.0, 1.0, -300.0])
def test_equal_rewards_say_nothing(dtype, reward):
    observations = torch.randn(2, 20, 100, 2, generator=torch.Generator().manual_seed(0), dtype=dtype)
    happened = torch.ones(2, 20, 100, dtype=torch.bool)
    rewards = torch.full((2, 20, 100), reward, dtype=dtype)
    rewards[1, 3, 50] += 1  # the other task has one reward that differs
    signal, advantages, divided = advantages_of(rewards, happened, observations)
    assert signal.tolist() == [False, True]
    assert not advantages[0].any()
    assert torch.equal(advantages[1], divided[1])
    if reward:  # the mistake that this prevents: a step of full length that comes of what the baseline cannot fit
        assert divided[0].square().mean() == pytest.approx(1, abs=0.01)


def test_rewards_that_the_baseline_explains_say_nothing():
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(1, 20, 100, 2, generator=generator, dtype=torch.float64)
    returns = 3 * observations[..., 0] + 2
    happened = torch.ones(1, 20, 100, dtype=torch.bool)
    explained = returns - linear_baseline(observations, returns, happened).steps
    assert explained.any()  # what the ridge leaves
    assert has_signal(returns, explained, happened).tolist() == [False]
    assert has_signal(returns, explained + 1e-3 * torch.randn(1, 20, 100, generator=generator), happened).tolist() == [True]


def test_lengths_are_a_signal():
    """Each step pays one, as on a cart with a pole: who stays longer has more."""
    happened = torch.arange(6) < torch.tensor([[[6], [3], [4]]])
    rewards = happened.double()
    signal, advantages, _ = advantages_of(rewards, happened, torch.zeros(1, 3, 6, 1, dtype=torch.float64))
    assert signal.tolist() == [True]
    assert advantages[0, 0, 0] > advantages[0, 2, 0] > advantages[0, 1, 0]


def test_a_single_trajectory_is_compared_with_itself():
    happened = torch.ones(2, 1, 4, dtype=torch.bool)
    returns = torch.tensor([[[5.0, 5.0, 5.0, 5.0]], [[5.0, 5.0, 5.0, 5.1]]])
    assert has_signal(returns, returns - 5, happened).tolist() == [False, True]


def test_the_baselines_features_by_hand():
    # observations are clipped to 10, time is in hundreds of steps
    found = features(torch.tensor([[20.0, -3.0]]), torch.tensor([50]))
    assert found.tolist() == [[10, -3, 100, 9, 0.5, 0.25, 0.125, 1]]


@pytest.mark.parametrize("ridge", [1e-5, 1.0])
def test_the_baseline_is_the_ridge_regression(ridge):
    generator = torch.Generator().manual_seed(0)
    observations, returns = (torch.randn(1, 2, 10, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    x = features(observations, torch.arange(10)).flatten(0, 2)
    weights = torch.linalg.solve(x.T @ x + ridge * torch.eye(6, dtype=x.dtype), x.T @ returns.flatten())
    values = linear_baseline(observations, returns[..., 0], torch.ones(1, 2, 10, dtype=torch.bool), ridge).steps
    torch.testing.assert_close(values.flatten(), x @ weights)
