"""Meta-gradients through the networks for images equal finite differences, whatever rule and whatever statistics."""

import pytest
import torch

from metarl.adaptation import InnerLoop
from metarl.learner import Learner
from metarl.outer.gradient_descent import meta_gradient
from metarl.problems import SupervisedProblem
from metarl.supervised.networks import conv4
from metarl.tasks import Episodes, Examples
from tests.worlds import RULES


@pytest.mark.parametrize("statistics", ["batch", "support"])
@pytest.mark.parametrize("downsampling", ["pool", "stride"])
@pytest.mark.parametrize("rule", ["gradient descent", "Meta-SGD", "LSTM", "TURTLE"])
def test_meta_gradients_through_conv4_equal_finite_differences(rule, downsampling, statistics):
    torch.manual_seed(0)
    network = conv4((1, 16, 16), 3, filters=2, downsampling=downsampling, hidden=3)
    learner = Learner(network.double(), batch_norm=statistics)
    cls, kwargs = RULES[rule]
    inner = InnerLoop(SupervisedProblem(learner, torch.nn.functional.cross_entropy), cls(learner.layout, **kwargs).double(), 2)
    meta = inner.initial_meta()
    images, labels = torch.rand(2, 6, 1, 16, 16, dtype=torch.float64), torch.arange(3).repeat(2).expand(2, -1)
    support = Examples(images, labels)
    episodes = Episodes(support, Examples(images.flip(-1) + 0.1 * torch.randn_like(images), labels))
    query = inner.problem.collect(meta["theta"], episodes, "query", torch.Generator())
    _, gradients = meta_gradient(inner, meta, [support] * 2, query)
    for name, value in meta.items():
        direction = torch.randn_like(value)
        ends = []
        for sign in (1, -1):
            moved = {**meta, name: value.detach() + sign * 1e-6 * direction}
            ends.append(torch.vmap(inner.problem.loss)(inner.replay(moved, [support] * 2), query).mean().item())
        expected = (ends[0] - ends[1]) / 2e-6
        assert (gradients[name] * direction).sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-8), name
