"""Neural processes: the likelihood by PyTorch's own, the order and number of support examples, and what a query sees."""

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian
from torch.distributions import Normal
from torch.nn import functional

import metarl
from metarl.adapters import Support
from metarl.adapters.memory import NeuralProcess
from metarl.agents.pictures import deviations
from metarl.agents.pictures.unseen import TASKS, adapt_to_unseen
from metarl.errors import ConfigError
from tests.small import small
from tests.worlds import flat, gathered, outer_loss

ATTENTIONS = ["none", "dot"]


def reader(attention, **changes):
    torch.manual_seed(0)
    return NeuralProcess(3, 2, **{"hidden": (5, 4), "representation": 6, "attention": attention, **changes}).double()


def episode(examples=4, queries=3):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(examples + queries, 3, generator=generator, dtype=torch.float64)
    targets = torch.randn(examples + queries, 2, generator=generator, dtype=torch.float64)
    return Support(inputs[:examples], targets[:examples], targets[:examples]), inputs[examples:], targets[examples:]


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_training_maximises_the_likelihood(attention):
    process, (support, queries, targets) = reader(attention), episode()
    kept = process.read(support)
    means, spread = process.distribution(queries, kept)
    assert torch.equal(process.answer(queries, kept), means)
    assert (spread > 0.1).all()
    loss = process.loss(queries, kept, targets, functional.mse_loss)
    torch.testing.assert_close(loss, -Normal(means, spread).log_prob(targets).mean())


def test_the_representation_is_the_mean_of_the_encodings():
    process, (support, queries, _) = reader("none"), episode()
    mean = process.encoder(torch.cat([support.inputs, support.targets], dim=1)).mean(0)
    decoded = process.decoder(torch.cat([queries, mean.expand(3, -1)], dim=1))
    means, spread = process.distribution(queries, process.read(support))
    torch.testing.assert_close(means, decoded[:, :2])
    torch.testing.assert_close(spread, 0.1 + 0.9 * functional.softplus(decoded[:, 2:]))


def test_attention_is_a_softmax_of_scaled_dot_products():
    process, (support, queries, _) = reader("dot"), episode()
    weights = process.attention(queries, process.read(support))
    logits = process.keys(queries) @ process.keys(support.inputs).t() / 6**0.5
    torch.testing.assert_close(weights, logits.softmax(1))
    assert (weights.std(1) > 1e-3).all()


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_order_of_the_support_examples_is_of_no_account(attention):
    process, (support, queries, _) = reader(attention), episode()
    order = torch.tensor([2, 0, 3, 1])
    permuted = Support(*(part[order] for part in support[:3]))
    for one, other in zip(
        process.distribution(queries, process.read(support)), process.distribution(queries, process.read(permuted)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-14)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_query_sees_the_support_set_and_no_other_query(attention):
    process, (support, queries, _) = reader(attention), episode()

    def both(inputs, columns, queries):
        return torch.stack(process.distribution(queries, process.read(support._replace(inputs=inputs, columns=columns))), dim=1)

    of_inputs, of_columns, of_queries = jacobian(both, (support.inputs, support.columns, queries))
    for query in range(3):
        others = [other for other in range(3) if other != query]
        assert (of_queries[query][:, :, others] == 0).all()
        assert (of_queries[query][:, :, query].abs().sum((1, 2)) > 0).all()
        assert (of_inputs[query].abs().sum((0, 1, 3)) > 0).all()
        assert (of_columns[query].abs().sum((0, 1, 3)) > 0).all()


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_meta_gradient_equals_the_finite_difference(attention):
    agent = small("neural process", attention=attention)
    point = flat(agent.meta).requires_grad_()
    loss = outer_loss(agent, gathered(agent))
    assert torch.autograd.gradcheck(loss, point, eps=1e-6, atol=1e-7, rtol=1e-5, fast_mode=True)


def test_any_number_of_support_examples_will_do_and_a_prediction_is_the_mean():
    agent = small("neural process")
    assert agent.evaluate(2, env_kwargs={"shots": 1}).values.shape == (2, 1)
    observation, _ = agent.env.reset(seed=0)
    unseen = torch.as_tensor(observation["support_inputs"]).double()
    embedded = agent.adapter.embed(agent.meta, {}, unseen)
    values = torch.as_tensor(observation["support_targets"]).double()
    kept = agent.adapter.call(agent.meta, "read", Support(embedded, values, values))
    means, _ = agent.adapter.call(agent.meta, "distribution", embedded, kept)
    np.testing.assert_allclose(agent.adapt(observation).predict(observation["support_inputs"]), means.detach(), rtol=1e-12)


def test_the_band_is_two_deviations_around_the_mean():
    agent = small("neural process")
    unseen = adapt_to_unseen(agent)
    axes = agent.pictures()["deviations"].axes
    assert len(axes) == TASKS
    for task, ax in enumerate(axes):
        curve, *marks = ax.lines
        at, means = curve.get_data()
        kept, moments = agent.adapter.row(unseen.adaptation.adapted[-1], task)
        embedded = agent.adapter.embed(agent.meta, moments, torch.as_tensor(at)[:, None])
        expected, spread = (part.detach()[:, 0] for part in agent.adapter.call(agent.meta, "distribution", embedded, kept))
        np.testing.assert_allclose(means, expected, rtol=1e-12)
        vertices = ax.collections[0].get_paths()[0].vertices
        for edge in (expected - 2 * spread, expected + 2 * spread):
            points = np.stack([at, edge], axis=1)
            assert np.abs(points[:, None] - vertices[None]).sum(2).min(1).max() < 1e-12
        for mark, examples in zip(marks, (unseen.tasks.query, unseen.tasks.support), strict=True):
            drawn = np.concatenate([examples.inputs[task], examples.targets[task]], axis=1)
            np.testing.assert_array_equal(mark.get_xydata(), drawn)


def test_what_is_no_curve_has_no_picture():
    agent = small("neural process")
    agent.env.unwrapped.input_shape = (2,)
    assert deviations.draw(agent, adapt_to_unseen(agent)) == {}


def test_bad_input_is_named():
    with pytest.raises(
        ConfigError, match="NeuralProcess predicts values, and these are classes: choose a family of regression"
    ):
        metarl.NeuralProcess("MLP", "tests/Images-v0", policy_kwargs={"hidden": (4,)}, device="cpu")
    with pytest.raises(ConfigError, match="attention='dots' is not known: did you mean 'dot'"):
        reader("dots")
    with pytest.raises(ConfigError, match="representation=0 must be above zero"):
        reader("none", representation=0)
    with pytest.raises(ConfigError, match=r"hidden=\(\) leaves no layer to end in: give at least one width"):
        small("neural process", policy_kwargs={"hidden": ()})
