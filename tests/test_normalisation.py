"""Whose statistics normalise, that nothing leaks through them, and that they survive."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

import metarl
from metarl import Learner
from metarl.adapters.base import averages
from metarl.errors import ConfigError
from metarl.normalisation import BatchNorm, ObservationNorm
from metarl.supervised.networks import perceptron
from tests.toys import weight
from tests.worlds import images

OPTIONS = {"policy_kwargs": {"hidden": (4,)}, "meta_batch": 2, "device": "cpu"}


def agent(statistics, **changes):
    return metarl.MAML("MLP", "tests/Images-v0", batch_norm=statistics, **{**OPTIONS, **changes})


def equal(ours, theirs):
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def used(layer, use):
    layer.use = use
    return layer


# -- the layer


def test_a_batch_is_normalised_by_its_own_moments():
    layer, inputs = BatchNorm(2), torch.randn(5, 2, 3, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([2.0, 3.0]))
        layer.bias.copy_(torch.tensor([-1.0, 1.0]))
    mean, variance = inputs.mean((0, 2, 3)), inputs.var((0, 2, 3), correction=0)
    normal = (inputs - mean[:, None, None]) / (variance[:, None, None] + layer.eps).sqrt()
    torch.testing.assert_close(layer(inputs), normal * layer.weight[:, None, None] + layer.bias[:, None, None])
    assert not layer.num_batches_tracked


def test_averages_are_of_the_batches_that_were_tracked():
    layer = used(BatchNorm(1, momentum=0.4), "track")
    for values, mean, variance in (
        ([0.0, 2.0], 1.0, 1.0),  # the first takes their place
        ([3.0, 7.0], 3.0, 2.5),  # the second weighs a half: 1 and 5, 1 and 4
        ([10.0, 10.0], 5.8, 1.5),  # from the third on, the momentum: 3 + 0.4 * (10 - 3), 0.6 * 2.5
    ):
        layer(torch.tensor(values)[:, None])
        assert layer.running_mean.item() == pytest.approx(mean)
        assert layer.running_var.item() == pytest.approx(variance)
    assert layer.num_batches_tracked == 3
    expected = torch.tensor([[5.8 + 2 * (1.5 + layer.eps) ** 0.5]])
    torch.testing.assert_close(used(layer, "averages")(expected), torch.tensor([[2.0]]))


def test_averages_are_pytorchs_after_the_first_batches():
    ours, theirs = used(BatchNorm(3), "track"), nn.BatchNorm2d(3)
    for _ in range(200):
        batch = torch.randn(8, 3, 4, 4) + torch.arange(3.0)[:, None, None]
        ours(batch)
        theirs(batch)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(ours.running_var, theirs.running_var, atol=2e-2, rtol=2e-2)  # theirs divide by n - 1
    torch.testing.assert_close(used(ours, "averages")(batch), theirs.eval()(batch), atol=2e-2, rtol=2e-2)


def test_a_call_changes_nothing_on_the_layer():
    layer = used(BatchNorm(1), "track")
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    values = {name: value.clone() for name, value in layer.named_buffers()}
    functional_call(layer, values, torch.tensor([[0.0], [2.0]]))
    assert equal(layer.state_dict(), before)
    assert (values["running_mean"].item(), values["num_batches_tracked"].item()) == (1, 1)


# -- the learner


def test_pytorchs_layers_are_replaced_in_a_copy():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 4, 2))
    with torch.no_grad():
        module[1].weight.copy_(torch.tensor([2.0, 3.0]))
    learner, inputs = Learner(module), torch.randn(5, 1, 4, 4)
    theta, shared, _ = learner.initial(module)
    torch.testing.assert_close(learner(theta, shared, inputs), module(inputs))
    assert isinstance(module[1], nn.BatchNorm2d)


def test_the_moments_of_a_batch_normalise_another():
    module = nn.Sequential(BatchNorm(2))
    learner = Learner(module, batch_norm="support")
    theta, shared, _ = learner.initial(module)
    support, query = torch.randn(3, 2), torch.randn(4, 2)
    moments = learner.moments(theta, shared, support)
    expected = (query - support.mean(0)) / (support.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(learner(theta, shared, query, moments), expected)


# -- agents


@pytest.mark.parametrize(("statistics", "leaks"), [("batch", True), ("support", False), ("running", False)])
def test_a_prediction_depends_on_other_query_images_only_under_batch(statistics, leaks):
    observation, _ = images().reset(seed=0)
    predictor = agent(statistics, seed=1).learn(1).adapt(observation)
    together = predictor.outputs(observation["query_inputs"])
    others = observation["query_inputs"].copy()
    others[1:] = np.random.default_rng(0).random(others[1:].shape, np.float32)
    alone = predictor.outputs(others)[0]
    assert np.allclose(together[0], alone, rtol=0, atol=1e-6) != leaks


def test_agents_given_one_network_have_averages_of_their_own():
    network = perceptron((1, 4, 4), 2, (4,))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    options = {"batch_norm": "running", "meta_batch": 2, "device": "cpu"}
    ours, theirs = (metarl.MAML(network, "tests/Images-v0", **options) for _ in range(2))
    kept = averages(theirs.meta)
    assert equal(kept, averages(ours.meta))
    ours.learn(1)
    assert not equal(averages(ours.meta), kept)
    assert averages(theirs.meta) == kept
    assert equal(network.state_dict(), before)


def test_a_pretrained_networks_averages_are_kept():
    network = perceptron((1, 4, 4), 2, (4,))
    network.norm1.running_mean.fill_(7.0)
    network.norm1.num_batches_tracked.fill_(100)
    meta = metarl.MAML(network, "tests/Images-v0", batch_norm="running", device="cpu").meta
    assert (meta["running.norm1.running_mean"] == 7).all()


def test_averages_move_by_the_query_images_of_a_step():
    one = agent("running", dtype="float64")
    before, first = averages(one.meta), one.adapter
    tasks = one.source.sample(2, "train", one.streams["tasks"])
    learned = agent("running", dtype="float64").learn(1)
    tracked = first.track({**learned.meta, **one.meta, "theta": learned.meta["theta"]}, tasks.query.inputs.flatten(0, 1))
    assert equal(averages(tracked), averages(learned.meta))
    assert not equal(before, averages(learned.meta))


def test_what_batch_normalisation_cannot_do_is_named():
    with pytest.raises(ConfigError, match="a single example has no variance"):
        agent("batch").adapt(images().reset(seed=0)[0]).predict(np.zeros((1, 1, 4, 4), np.float32))
    with pytest.raises(ConfigError, match="affine=False or momentum=None"):
        Learner(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, affine=False)))
    with pytest.raises(ConfigError, match="has batch-norm layers"):
        metarl.MAML(
            nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).eval(), "metarl/Navigation2D-v0"
        )
    with pytest.raises(ConfigError, match="batch_norm='suport' is not known: did you mean 'support'"):
        Learner(nn.Sequential(nn.Linear(2, 2)), batch_norm="suport")
    with pytest.raises(ConfigError, match="Sequential has no batch-norm layer"):
        Learner(nn.Sequential(nn.Linear(2, 2)), batch_norm="support")
    with pytest.raises(ConfigError, match="are for predictors"):
        metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", batch_norm="support")


def test_every_evaluation_says_whose_statistics():
    evaluation = agent("support").evaluate(2)
    assert evaluation.as_dict()["batch_norm"] == "support"
    assert "batch-normalisation with the statistics of the support set" in str(evaluation)
    assert metarl.MAML("MLP", "metarl/Sine-v0").evaluate(2).as_dict()["batch_norm"] is None


def test_averages_are_saved_kept_with_the_best_and_resumed(tmp_path):
    whole = agent("running").learn(2, validate_every=1, validation_tasks=2)
    part = agent("running").learn(1, validate_every=1, validation_tasks=2)
    again = metarl.MAML.load(part.save(tmp_path / "part"), device="cpu")
    assert equal(averages(again.meta), averages(part.meta))
    assert equal(again.learn(1, validate_every=1, validation_tasks=2).meta, whole.meta)
    best = averages(whole.best["meta"])
    assert best
    assert equal(averages(whole.learn(1).restore_best().meta), best)


# -- observations


def test_observations_are_normalised_and_clipped():
    layer = used(ObservationNorm(2), "averages")
    inputs = torch.tensor([[[1.0, -300.0], [3.0, 4.0]]])
    torch.testing.assert_close(layer(inputs), inputs.clamp(-10, 10))  # nothing was seen yet
    layer.running_mean, layer.running_var = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 0.25])
    torch.testing.assert_close(layer(inputs), torch.tensor([[[0.0, -10.0], [1.0, 4.0]]]))


def level_agent(**rollouts):
    options = {"trajectories": 3, "normalise_observations": True, **rollouts}
    return metarl.MAML(
        weight(0.5),
        "tests/Level-v0",
        env_kwargs={"lengths": (1, 3)},
        meta_batch=2,
        dtype="float64",
        device="cpu",
        outer="policy_gradient",
        rollouts=metarl.Rollouts(**options),
    )


def test_the_averages_of_observations_are_those_that_were_seen(tmp_path):
    one = level_agent()
    assert {name: value.tolist() for name, value in averages(one.meta).items()} == {
        "norm.running_mean": [0],
        "norm.running_var": [1],
        "norm.num_batches_tracked": 0,
    }
    one.learn(1)
    # a trajectory of the first task sees 1, of the second 1, 0.9 and 0.8: of four observations the mean is 0.925
    tracked = {name: value.item() for name, value in averages(one.meta).items()}
    assert tracked["norm.running_mean"] == pytest.approx(0.925, abs=1e-7)
    assert tracked["norm.running_var"] == pytest.approx((2 * 0.075**2 + 0.025**2 + 0.125**2) / 4, abs=1e-7)
    assert tracked["norm.num_batches_tracked"] == 1
    again = metarl.MAML.load(one.save(tmp_path / "agent"), policy=weight(0.5), device="cpu")
    assert equal(averages(again.meta), averages(one.meta))
    assert equal(one.learn(1).meta, again.learn(1).meta)
    assert "norm.running_mean" not in averages(level_agent(normalise_observations=False).meta)


def test_every_task_and_the_adapted_policy_see_observations_by_the_same_averages():
    one = level_agent()
    one.meta["running.norm.running_mean"] = torch.tensor([1.0], dtype=torch.float64)
    one.meta["running.norm.running_var"] = torch.tensor([0.04], dtype=torch.float64)
    one.meta["running.norm.num_batches_tracked"] = torch.tensor(1)
    adapted = one.meta["theta"].expand(2, -1), {}
    outputs, _ = one.adapter.together(one.meta, adapted)(torch.tensor([[[1.2]], [[0.9]]], dtype=torch.float64))
    # minus 1, over 0.2, times 0.5
    torch.testing.assert_close(outputs[:, 0, 0], torch.tensor([0.5, -0.25], dtype=torch.float64), rtol=1e-6, atol=0)
    action, _ = one.predict(np.array([1.2], np.float32), deterministic=True)
    assert action.item() == pytest.approx(0.5, abs=1e-5)
