"""The action distributions against torch.distributions, and their Fisher information against the KL's curvature."""

import pytest
import torch
from torch import distributions

from metarl.sampling.distributions import Categorical, DiagonalGaussian

FAMILIES = {"gaussian": DiagonalGaussian(3), "categorical": Categorical(4)}


def theirs(family, parameters):
    if isinstance(family, Categorical):
        return distributions.Categorical(logits=parameters, validate_args=False)
    mean, log_std = parameters.chunk(2, -1)
    return distributions.Independent(distributions.Normal(mean, log_std.exp(), validate_args=False), 1, validate_args=False)


def draw(family, seed=0):
    return torch.randn(6, family.size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", FAMILIES)
class TestAgainstTorch:
    def test_log_prob_kl_and_entropy(self, name):
        family = FAMILIES[name]
        old, new = draw(family, 0), draw(family, 1)
        actions = theirs(family, old).sample()
        torch.testing.assert_close(family.log_prob(new, actions), theirs(family, new).log_prob(actions))
        torch.testing.assert_close(family.entropy(old), theirs(family, old).entropy())
        expected = distributions.kl_divergence(theirs(family, old), theirs(family, new))
        torch.testing.assert_close(family.kl(old, new), expected)
        assert family.kl(old, old).abs().max() < 1e-12

    def test_fisher_is_the_curvature_of_the_kl(self, name):
        family, point = FAMILIES[name], draw(FAMILIES[name])[0]
        hessian = torch.autograd.functional.hessian(lambda new: family.kl(point, new), point)
        tangent = draw(family, 2)[0]
        torch.testing.assert_close(family.fisher(point, tangent), hessian @ tangent)

    def test_samples_follow_the_density(self, name):
        family, generator = FAMILIES[name], torch.Generator().manual_seed(3)
        parameters = draw(family)[:1].expand(40000, -1)
        actions = family.sample(parameters, family.noise((40000,), generator, parameters))
        mean_entropy = -family.log_prob(parameters, actions).mean()
        assert mean_entropy.item() == pytest.approx(family.entropy(parameters[:1]).item(), abs=0.03)


def test_the_mode_is_the_mean_or_the_largest_logit():
    assert DiagonalGaussian(2).mode(torch.tensor([[3.0, -1.0, 2.0, 5.0]])).tolist() == [[3, -1]]
    assert Categorical(3).mode(torch.tensor([[1.0, 5.0, 2.0]])).tolist() == [1]
