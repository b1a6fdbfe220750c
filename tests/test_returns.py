"""Returns, advantages and the baseline against numbers worked out by hand."""

import pytest
import torch

from metarl.problems.returns import discounted_sums, generalised_advantages, linear_baseline, normalise

REWARDS = torch.tensor([1.0, 2.0, 4.0, 0.0], dtype=torch.float64)
VALUES = torch.tensor([0.5, 1.0, 2.0, 9.0], dtype=torch.float64)
MASK = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64)


def test_discounted_sums_by_hand():
    assert discounted_sums(REWARDS, 0.5).tolist() == [1 + 0.5 * 2 + 0.25 * 4, 2 + 0.5 * 4, 4, 0]


def test_advantages_by_hand():
    # deltas with gamma 0.5: 1 + 0.5 - 0.5 = 1, 2 + 1 - 1 = 2, 4 + 0 - 2 = 2 (no value after the end)
    found = generalised_advantages(REWARDS, VALUES, MASK, 0.5, 0.5)
    assert found.tolist() == [1 + 0.25 * 2 + 0.0625 * 2, 2 + 0.25 * 2, 2, 0]


def test_ignoring_the_end_is_wrong():
    right = generalised_advantages(REWARDS, VALUES, MASK, 0.5, 0.5)
    wrong = generalised_advantages(REWARDS, VALUES, torch.ones(4, dtype=torch.float64), 0.5, 0.5)
    assert not torch.allclose(right[:3], wrong[:3])


def test_lambda_one_is_the_return_minus_the_baseline():
    found = generalised_advantages(REWARDS, VALUES, MASK, 0.9, 1.0)
    torch.testing.assert_close(found, (discounted_sums(REWARDS, 0.9) - VALUES) * MASK)


def test_lambda_zero_is_the_temporal_difference():
    found = generalised_advantages(REWARDS, VALUES, MASK, 0.9, 0.0)
    assert found.tolist() == pytest.approx([1 + 0.9 * 1.0 - 0.5, 2 + 0.9 * 2.0 - 1.0, 4 - 2.0, 0])


def test_the_baseline_fits_what_is_linear_in_its_features():
    generator = torch.Generator().manual_seed(0)
    observations = torch.randn(3, 5, 40, 2, generator=generator, dtype=torch.float64)
    time = torch.arange(40, dtype=torch.float64) / 100
    returns = 3 * observations[..., 0] - 2 * observations[..., 1] ** 2 + 5 * time - time**3 + 1
    mask = torch.ones(3, 5, 40, dtype=torch.float64)
    mask[:, 0, 10:] = 0
    found = linear_baseline(observations, returns, mask)
    torch.testing.assert_close(found * mask, returns * mask, rtol=0, atol=1e-4)


def test_the_baseline_is_each_tasks_own():
    observations = torch.randn(2, 4, 30, 2, dtype=torch.float64)
    returns = torch.stack([observations[0, ..., 0], -observations[1, ..., 0]])
    mask = torch.ones(2, 4, 30, dtype=torch.float64)
    torch.testing.assert_close(linear_baseline(observations, returns, mask), returns, rtol=0, atol=1e-4)


def test_the_baseline_survives_singular_features():
    observations = torch.zeros(1, 3, 20, 2)  # the same state throughout, every trajectory over after one step
    mask = torch.zeros(1, 3, 20)
    mask[..., 0] = 1
    found = linear_baseline(observations, torch.full((1, 3, 20), 7.0), mask)
    assert found.isfinite().all()
    torch.testing.assert_close(found[..., 0], torch.full((1, 3), 7.0), rtol=0, atol=1e-3)


def test_normalisation_counts_only_what_happened():
    advantages = torch.tensor([[[1.0, 3.0, 0.0], [5.0, 0.0, 0.0]]])
    mask = torch.tensor([[[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]])
    assert torch.equal(normalise(advantages, mask, "raw"), advantages)
    assert normalise(advantages, mask, "centred").tolist() == [[[-2, 0, 0], [2, 0, 0]]]
    deviation = (8 / 3) ** 0.5
    torch.testing.assert_close(
        normalise(advantages, mask, "normalised"), torch.tensor([[[-2.0, 0, 0], [2.0, 0, 0]]]) / deviation, rtol=1e-6, atol=1e-6
    )
