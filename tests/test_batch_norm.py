"""Whose statistics batch-normalisation uses, that nothing leaks through them, and that they survive."""

import numpy as np
import pytest
import torch
from torch import nn

import metarl
from metarl import Learner
from metarl.batch_norm import BatchNorm
from metarl.errors import ConfigError
from metarl.supervised.networks import perceptron
from tests.worlds import flat, images

OPTIONS = {"policy_kwargs": {"hidden": (4,)}, "meta_batch": 2, "device": "cpu"}


def agent(statistics, **changes):
    return metarl.MAML("MLP", "tests/Images-v0", batch_norm=statistics, **{**OPTIONS, **changes})


@pytest.mark.parametrize(("statistics", "leaks"), [("batch", True), ("support", False), ("running", False)])
def test_a_prediction_depends_on_other_query_images_only_under_batch(statistics, leaks):
    env = images()
    observation, _ = env.reset(seed=0)
    predictor = agent(statistics, seed=1).learn(3).adapt(observation)
    together = predictor.outputs(observation["query_inputs"])
    others = observation["query_inputs"].copy()
    others[1:] = np.random.default_rng(0).random(others[1:].shape, np.float32)
    alone = predictor.outputs(others)[0]
    assert np.allclose(together[0], alone, rtol=0, atol=1e-6) != leaks


def test_the_support_statistics_are_the_support_sets():
    layer = BatchNorm(2)
    inputs = torch.randn(5, 2, 3, 3)
    layer.statistics, layer.support = "support", 3
    known = inputs[:3]
    mean, variance = known.mean((0, 2, 3)), known.var((0, 2, 3), correction=0)
    expected = (inputs - mean[:, None, None]) / (variance[:, None, None] + layer.eps).sqrt()
    torch.testing.assert_close(layer(inputs), expected)


def test_running_averages_are_pytorchs_after_the_first_batches():
    ours, theirs = BatchNorm(3), nn.BatchNorm2d(3)
    ours.tracking = True
    for _ in range(200):
        batch = torch.randn(8, 3, 4, 4) + torch.arange(3.0)[:, None, None]
        ours(batch)
        theirs(batch)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(ours.running_var, theirs.running_var, atol=2e-2, rtol=2e-2)  # theirs divide by n - 1
    theirs.eval()
    ours.tracking, ours.statistics = False, "running"
    torch.testing.assert_close(ours(batch), theirs(batch), atol=2e-2, rtol=2e-2)


def test_pytorchs_layers_are_replaced_in_a_copy():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 4, 2))
    with torch.no_grad():
        module[1].weight.copy_(torch.tensor([2.0, 3.0]))
    learner = Learner(module)
    assert isinstance(module[1], nn.BatchNorm2d)
    inputs = torch.randn(5, 1, 4, 4)
    torch.testing.assert_close(learner(learner.join(*learner.initial()), inputs), module(inputs))


def test_agents_given_one_network_have_statistics_of_their_own():
    network = perceptron((1, 4, 4), 2, (4,))
    ours, theirs = (metarl.MAML(network, "tests/Images-v0", batch_norm="running", meta_batch=2) for _ in range(2))
    before = {name: value.clone() for name, value in theirs.world.problem.learner.running.items()}
    ours.learn(2)
    assert all(torch.equal(theirs.world.problem.learner.running[name], value) for name, value in before.items())


def test_a_pretrained_networks_averages_are_kept():
    network = perceptron((1, 4, 4), 2, (4,))
    network.norm1.running_mean.fill_(7.0)
    network.norm1.num_batches_tracked.fill_(100)
    learner = metarl.MAML(network, "tests/Images-v0", batch_norm="running").world.problem.learner
    assert (learner.running["norm1.running_mean"] == 7).all()


def test_what_batch_normalisation_cannot_do_is_named():
    with pytest.raises(ConfigError, match="a single example has no variance"):
        agent("batch").adapt(images().reset(seed=0)[0]).predict(np.zeros((1, 1, 4, 4), np.float32))
    with pytest.raises(ConfigError, match="affine=False or momentum=None"):
        Learner(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False)))
    with pytest.raises(ConfigError, match="has batch-norm layers"):
        metarl.MAML(
            nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).eval(), "metarl/Navigation2D-v0"
        )


def test_policies_are_named_and_need_a_layer():
    with pytest.raises(ConfigError, match="batch_norm='suport' is not known: did you mean 'support'"):
        Learner(nn.Sequential(nn.Linear(2, 2)), batch_norm="suport")
    with pytest.raises(ConfigError, match="Sequential has no batch-norm layer"):
        Learner(nn.Sequential(nn.Linear(2, 2)), batch_norm="support")
    with pytest.raises(ConfigError, match="are for predictors"):
        metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", batch_norm="support")


def test_every_evaluation_says_whose_statistics():
    found = agent("support").evaluate(3)
    assert found.as_dict()["batch_norm"] == "support"
    assert "batch-normalisation with the statistics of the support set" in str(found)
    assert metarl.MAML("MLP", "metarl/Sine-v0").evaluate(3).as_dict()["batch_norm"] is None


def test_running_averages_are_saved_kept_with_the_best_and_resumed(tmp_path):
    whole = agent("running").learn(4, validate_every=2, validation_tasks=3)
    part = agent("running").learn(2, validate_every=2, validation_tasks=3)
    again = metarl.MAML.load(part.save(tmp_path / "part"))
    again.learn(2, validate_every=2, validation_tasks=3)
    assert torch.equal(flat(whole.meta), flat(again.meta))
    ours, theirs = (a.world.problem.learner.running for a in (whole, again))
    assert ours
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert any(not torch.equal(ours[name], whole.best["running"][name]) for name in ours) or whole.best["iteration"] == 4
    best = whole.best["running"]
    whole.learn(2).restore_best()
    assert all(torch.equal(whole.world.problem.learner.running[name], value) for name, value in best.items())


def test_agents_with_running_averages_learn_one_by_one():
    with pytest.raises(ConfigError, match="running averages are each agent's own"):
        metarl.learn_side_by_side([agent("running", seed=s) for s in (0, 1)], 2)


@pytest.mark.parametrize("statistics", ["batch", "support"])
def test_side_by_side_is_one_by_one_on_images(statistics):
    together, alone = ([agent(statistics, seed=seed, dtype="float64") for seed in (0, 1)] for _ in range(2))
    metarl.learn_side_by_side(together, 3)
    for ours, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(flat(ours.meta), flat(theirs.learn(3).meta), rtol=0, atol=1e-7)
