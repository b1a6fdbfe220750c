"""Meta-gradients through the networks for images equal finite differences, whatever rule and whatever statistics."""

import pytest
import torch

from metarl.adapters import GradientAdapter
from metarl.learner import Learner
from metarl.outer.meta_gradient import meta_gradient
from metarl.problems import SupervisedProblem
from metarl.supervised.networks import conv4
from metarl.tasks import Episodes, Examples
from tests.worlds import RULES


# every rule, downsampling and statistics once; more of each in test_adapters
@pytest.mark.parametrize(
    ("rule", "downsampling", "statistics"),
    [
        ("gradient descent", "pool", "batch"),
        ("Meta-SGD", "stride", "support"),
        ("LSTM", "pool", "support"),
        ("TURTLE", "stride", "batch"),
    ],
)
def test_meta_gradients_through_conv4_equal_finite_differences(rule, downsampling, statistics):
    torch.manual_seed(0)
    network = conv4((1, 16, 16), 3, filters=2, downsampling=downsampling, hidden=3).double()
    learner = Learner(network, batch_norm=statistics)
    cls, kwargs = RULES[rule]
    built = cls(learner.layout, **kwargs).double()
    problem = SupervisedProblem(torch.nn.functional.cross_entropy, metric="accuracy", classes=3)
    adapter = GradientAdapter(problem, learner, built, 2)
    meta = adapter.initial_meta(network, built)
    images, labels = torch.rand(2, 6, 1, 16, 16, dtype=torch.float64), torch.arange(3).repeat(2).expand(2, -1)
    episodes = Episodes(Examples(images, labels), Examples(images.flip(-1) + 0.1 * torch.randn_like(images), labels))
    experiences = adapter.experiences(episodes, torch.Generator())
    _, gradients = meta_gradient(adapter, meta, experiences, episodes.query, 2)
    for name, value in meta.items():
        direction = torch.randn_like(value)
        ends = []
        for sign in (1, -1):
            moved = {**meta, name: value + sign * 1e-6 * direction}
            adapted = adapter.replay(moved, experiences, 2)
            ends.append(adapter.losses(moved, adapted, episodes.query).mean().item())
        expected = (ends[0] - ends[1]) / 2e-6
        assert (gradients[name] * direction).sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-8), name
