"""Siamese networks: verification by hand, its loss, and Koch's network."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

import metarl
from metarl.adapters import ReadingAdapter, Siamese, Support
from metarl.errors import ConfigError
from metarl.learner import Learner
from metarl.supervised.networks import koch
from tests.test_adapters import assert_finite_differences, classification, drawn, network, seen
from tests.test_matching import answers, asked, permuted, support


def siamese(*weights, bias=0.0):
    """A verifier with these weights."""
    reader = Siamese(len(weights)).double()
    reader.load_state_dict({"weights": torch.tensor(weights), "bias": torch.tensor([bias])})
    return reader


def verifier():
    torch.manual_seed(0)
    return Siamese(4).double()


def logit(probability):
    return math.log(probability / (1 - probability))


def points():
    """Three embeddings whose sigmoids are (0.5, 0.5), (0.75, 0.5) and (0.5, 0.9), of the classes 0, 0 and 1."""
    inputs = torch.tensor([[0.0, 0.0], [logit(0.75), 0.0], [0.0, logit(0.9)]], dtype=torch.float64)
    targets = torch.tensor([0, 0, 1])
    return Support(inputs, torch.eye(2, dtype=torch.float64)[targets], targets)


def test_verification_by_hand():
    reader, task = siamese(-4.0, 2.0, bias=0.5), points()
    query = torch.tensor([[0.0, logit(0.6)]], dtype=torch.float64)  # its features are 0.5 and 0.6
    expected = torch.tensor([[0.5 + 0.2, 0.5 - 1 + 0.2, 0.5 + 0.6]], dtype=torch.float64)
    torch.testing.assert_close(reader.verify(query, reader.read(task)[0]), expected)
    torch.testing.assert_close(answers(reader, task, query), torch.tensor([[0.7, 1.1]], dtype=torch.float64))
    sure = siamese(4.0, 0.0)  # the second of the class is surer
    torch.testing.assert_close(answers(sure, task, query), torch.tensor([[1.0, 0.0]], dtype=torch.float64))


def test_same_and_different_pairs_weigh_alike():
    reader, task = siamese(-4.0, 2.0, bias=0.5), points()
    queries, targets = torch.zeros(3, 2, dtype=torch.float64), torch.tensor([0, 1, 0])
    pairs = [0.5, -0.5, 1.3]  # of any query with the three examples
    same = [pairs[0], pairs[1], pairs[2], pairs[0], pairs[1]]
    different = [pairs[2], pairs[0], pairs[1], pairs[2]]
    cost = [sum(math.log1p(math.exp(-z)) for z in same) / 5, sum(math.log1p(math.exp(z)) for z in different) / 4]
    loss = reader.loss(queries, reader.read(task), targets, functional.cross_entropy)
    assert loss.item() == pytest.approx(sum(cost) / 2)


def test_pairs_are_the_same_both_ways_and_have_no_order():
    reader, task = verifier(), support()
    one, other = asked(), task.inputs
    torch.testing.assert_close(reader.verify(one, other.sigmoid()), reader.verify(other, one.sigmoid()).t())
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(answers(reader, task, one), answers(reader, permuted(task, order), one))


def test_no_query_sees_another():
    reader = verifier()
    derivatives = torch.func.jacrev(lambda queries: answers(reader, support(), queries))(asked())
    for query in range(5):
        assert not derivatives[query, :, [other for other in range(5) if other != query]].any()


@pytest.mark.parametrize("statistics", ["batch", "support", "running"])
def test_the_meta_gradient_is_the_difference(statistics):
    module = network(4)
    adapter = ReadingAdapter(classification(), Learner(module, batch_norm=statistics), verifier())
    gradients = assert_finite_differences(adapter, seen(adapter, adapter.initial_meta(module, verifier())))
    assert all(gradient.any() for gradient in gradients.values())


def test_training_is_by_verification_and_the_classes_are_judged():
    module = network(4)
    adapter = ReadingAdapter(classification(), Learner(module, batch_norm="support"), verifier())
    meta, episodes = adapter.initial_meta(module, verifier()), drawn()
    adapted = adapter.adapt(meta, episodes, torch.Generator()).adapted[-1]
    losses = adapter.losses(meta, adapted, episodes.query)
    for task in range(2):
        kept, moments = adapter.row(adapted, task)
        inputs, targets = adapter.row(episodes.query, task)
        loss = verifier().loss(adapter.embed(meta, moments, inputs), kept, targets, functional.cross_entropy)
        torch.testing.assert_close(losses[task], loss)
        outputs, _ = adapter.apply(meta, (kept, moments), inputs)
        measured = adapter.measure(meta, adapted, episodes.query)["loss"][task]
        torch.testing.assert_close(measured, functional.cross_entropy(outputs, targets))


def test_weight_decay_is_the_outer_optimisers():
    outer = metarl.GradientDescent(0.1, optimizer="SGD", optimizer_kwargs={"weight_decay": 0.5})
    options = {"policy_kwargs": {"hidden": (4,)}, "device": "cpu", "dtype": "float64"}
    moved = []
    for loop in (outer, metarl.GradientDescent(0.1, optimizer="SGD")):
        agent = metarl.SiameseNet("MLP", "tests/Images-v0", outer=loop, **options)
        start = agent.meta["reader.weights"].clone()
        moved.append(agent.learn(1).meta["reader.weights"])
    torch.testing.assert_close(moved[0], moved[1] - 0.1 * 0.5 * start)


def test_it_starts_as_kochs_with_differences_that_speak_against_one_class():
    torch.manual_seed(0)
    reader = Siamese(4096)
    assert reader.weights.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.05)
    assert (reader.weights < 0).all()
    assert 0.4 < reader.bias.item() < 0.6


# -- Koch's network


def test_kochs_network_is_the_papers():
    with torch.device("meta"):
        network = koch((1, 105, 105), -1, head="none")
    convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    sizes = [(layer.out_channels, layer.kernel_size[0]) for layer in convolutions]
    assert sizes == [(64, 10), (128, 7), (128, 4), (256, 4)]
    assert (network[-1].in_features, network[-1].out_features) == (6 * 6 * 256, 4096)
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in network) == 3
    assert type(network[-3]) is nn.ReLU  # no pooling after the last convolution


def test_kochs_network_starts_as_the_paper_says():
    torch.manual_seed(0)
    network = koch((1, 65, 65), -1, filters=(16, 16, 16, 16), hidden=64, head="none")
    for layer in (layer for layer in network if isinstance(layer, (nn.Conv2d, nn.Linear))):
        deviation = 0.01 if isinstance(layer, nn.Conv2d) else 0.2
        assert layer.weight.std().item() == pytest.approx(deviation, rel=0.1)
        assert layer.bias.mean().item() == pytest.approx(0.5, abs=0.02)
    other = koch((1, 65, 65), -1, filters=(16, 16, 16, 16), hidden=64, head="none", init="torch")
    assert other[-1].weight.abs().max() <= 16**-0.5


def test_kochs_network_takes_images_of_any_size_that_fits():
    small = {"filters": (2, 3, 2, 3), "hidden": 5}
    for size in ((1, 65, 65), (3, 70, 90)):
        assert koch(size, -1, head="none", **small)(torch.rand(2, *size)).shape == (2, 5)
        assert koch(size, 4, **small)(torch.rand(2, *size)).shape == (2, 4)
    assert koch((1, 81, 65), -1, head="maps", **small)(torch.rand(2, 1, 81, 65)).shape == (2, 3, 3, 1)
    classifier = koch((1, 65, 65), 4, **small)
    features = classifier[:-1](torch.rand(2, 1, 65, 65))
    assert ((features > 0) & (features < 1)).all()  # sigmoids


@pytest.mark.parametrize(
    ("shape", "options", "says"),
    [
        ((1, 28, 28), {}, r"input_shape=\(1, 28, 28\) is too small for Koch's network: give images of 65x65 or more"),
        ((1, 64, 105), {}, r"input_shape=\(1, 64, 105\) is too small"),
        ((1, 105, 105), {"filters": (2, 2)}, r"filters=\(2, 2\) must be 4 numbers, one for each convolution"),
        ((1, 105, 105), {"filters": (2, 2, 0, 2)}, r"filters\[2\]=0 must be above zero"),
        ((1, 105, 105), {"hidden": 0}, "hidden=0 must be above zero"),
        ((1, 105, 105), {"init": "kosh"}, "init='kosh' is not known: did you mean 'koch'"),
    ],
)
def test_bad_arguments_of_kochs_network_are_named(shape, options, says):
    with pytest.raises(ConfigError, match=says), torch.device("meta"):
        koch(shape, 5, **options)
