"""Relation Networks: the module against plain layers, its loss, who sees whom, and networks that end in feature maps."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import metarl
from metarl.adapters import ReadingAdapter, Relation, Support
from metarl.errors import ConfigError
from metarl.learner import Learner
from metarl.supervised import ImageEpisodes
from metarl.supervised.images import ImageSet
from metarl.supervised.networks import conv4, perceptron, resnet12
from tests.test_adapters import assert_finite_differences, classification, network, seen
from tests.test_matching import answers, asked, permuted
from tests.test_matching import support as vectors

SHAPE = (2, 4, 5)


def support(**options):
    return vectors(features=40, **options)


def relation(filters=16):
    torch.manual_seed(0)
    reader = Relation(SHAPE, filters, hidden=3)
    with torch.no_grad():  # else every scale is one, and every shift nought
        for values in (reader.scales, reader.shifts):
            values += 0.3 * torch.randn_like(values)
    return reader.double()


def test_the_module_is_convolutions_of_maps_side_by_side():
    reader, task = relation(), support(shots=1)
    first = nn.Conv2d(4, 16, 3, padding=1).double()
    weight = torch.cat([reader.of_class.weight, reader.of_query.weight], dim=1)
    first.load_state_dict({"weight": weight, "bias": reader.of_class.bias})
    blocks = []
    for convolution, scale, shift in zip((first, reader.second), reader.scales, reader.shifts, strict=True):
        norm = nn.GroupNorm(2, 16).double()  # groups of eight channels
        norm.load_state_dict({"weight": scale, "bias": shift})
        blocks += [convolution, norm, nn.ReLU(), nn.MaxPool2d(2)]
    whole = nn.Sequential(*blocks, nn.Flatten(), reader.hidden, nn.ReLU(), reader.score)
    queries, classes = asked(features=40).view(5, *SHAPE), task.inputs.view(3, *SHAPE)
    expected = torch.stack([torch.cat([whole(torch.cat([c, q])[None])[0] for c in classes]) for q in queries])
    torch.testing.assert_close(answers(reader, task, queries.flatten(1)), expected)


def test_the_maps_of_a_classs_examples_are_added():
    reader, task = relation(), support(shots=3)
    sums = torch.stack([task.inputs[task.targets == k].sum(0) for k in range(3)])
    alone = Support(sums, torch.eye(3, dtype=torch.float64), torch.arange(3))
    queries = asked(features=40)
    torch.testing.assert_close(answers(reader, task, queries), answers(reader, alone, queries))
    means, classes = reader.landmarks(reader.read(task))
    torch.testing.assert_close(means, sums / 3)
    assert classes.tolist() == [0, 1, 2]
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(answers(reader, task, queries), answers(reader, permuted(task, order), queries))


def test_scores_are_brought_near_to_one_and_nought():
    reader, task = relation(), support()
    queries, targets = asked(features=40), torch.tensor([0, 2, 1, 1, 0])
    scores = answers(reader, task, queries).sigmoid().tolist()
    errors = [(scores[i][k] - (k == target)) ** 2 for i, target in enumerate(targets.tolist()) for k in range(3)]
    loss = reader.loss(queries, reader.read(task), targets, functional.cross_entropy)
    assert loss.item() == pytest.approx(sum(errors) / 15)


def test_no_query_sees_another_and_no_class_another():
    reader, task, queries = relation(), support(shots=1), asked(features=40)
    derivatives = torch.func.jacrev(lambda q: answers(reader, task, q))(queries)
    for query in range(5):
        assert not derivatives[query, :, [other for other in range(5) if other != query]].any()
        assert derivatives[query, :, query].any()
    derivatives = torch.func.jacrev(lambda inputs: answers(reader, task._replace(inputs=inputs), queries))(task.inputs)
    for of_class in range(3):
        assert not derivatives[:, of_class, [other for other in range(3) if other != of_class]].any()
        assert derivatives[:, of_class, of_class].any()


@pytest.mark.parametrize("statistics", ["batch", "support", "running"])
def test_the_meta_gradient_is_the_difference(statistics):
    module = network(40)
    adapter = ReadingAdapter(classification(), Learner(module, batch_norm=statistics), relation(filters=4))
    gradients = assert_finite_differences(adapter, seen(adapter, adapter.initial_meta(module, relation(filters=4))))
    assert all(gradient.any() for gradient in gradients.values())


# -- networks that end in feature maps


def test_conv4_pools_as_often_as_it_is_told():
    images = torch.rand(2, 1, 28, 28)
    for pools, size in ((0, 28), (1, 14), (2, 7), (3, 3), (4, 1)):
        assert conv4((1, 28, 28), 5, filters=3, pools=pools, head="maps")(images).shape == (2, 3, size, size)
    strided = conv4((1, 28, 28), 5, filters=3, pools=2, downsampling="stride", head="maps")
    assert strided(images).shape == (2, 3, 7, 7)
    assert conv4((1, 28, 28), 5, filters=3, pools=2)[-1].in_features == 3 * 7 * 7
    assert conv4((1, 28, 28), 5, filters=3, pools=2, padding=0)[-1].in_features == 3  # 26, 13, 11, 5, 3, 1


@pytest.mark.parametrize(("network", "shape"), [(conv4, (1, 16, 16)), (resnet12, (1, 16, 16))])
def test_maps_are_what_the_features_are_made_of(network, shape):
    images, models = torch.rand(2, *shape), []
    for head in ("maps", "none"):
        torch.manual_seed(0)
        models.append(network(shape, 5, head=head))
    maps, features = (model(images) for model in models)
    torch.testing.assert_close(maps.flatten(2).mean(2), features)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: conv4((1, 28, 28), 5, pools=5), r"pools=5 must lie in \[0, 4\]"),
        (lambda: conv4((1, 28, 28), 5, hidden=3, head="maps"), "hidden=3 makes features flat, and feature maps are wanted"),
        (lambda: perceptron((1, 4, 4), 5, head="maps"), "head='maps': this network has no feature maps"),
        (lambda: Relation((64,)), r"embeddings of shape \(64,\) are no feature maps of at least 4x4"),
        (
            lambda: Relation((64, 4, 3)),
            r"embeddings of shape \(64, 4, 3\) .* pool less, such as with policy_kwargs={'pools': 2}",
        ),
        (lambda: Relation(SHAPE, filters=0), "filters=0 must be above zero"),
        (lambda: Relation(SHAPE, hidden=-1), "hidden=-1 must be above zero"),
        (lambda: agent(policy="MLP", policy_kwargs={}), "head='maps': this network has no feature maps"),
        (lambda: agent(policy_kwargs={"filters": 2, "pools": 0, "head": "linear"}), "its network has no head: leave it out"),
        (lambda: agent(policy_kwargs={"filters": 2, "pools": 1}), r"embeddings of shape \(2, 2, 2\) are no feature maps of at"),
        (
            lambda: agent(policy=nn.Sequential(nn.Flatten(), nn.Linear(16, 3))),
            r"embeddings of shape \(3,\) are no feature maps",
        ),
    ],
)
def test_bad_arguments_are_named(make, says):
    with pytest.raises(ConfigError, match=says):
        make()


def agent(**options):
    options = {"policy": "Conv4", "env": "tests/Images-v0", "device": "cpu", "filters": 2, "hidden": 2, **options}
    if options["policy"] == "Conv4":
        options = {"policy_kwargs": {"filters": 2, "pools": 0}, **options}
    return metarl.RelationNet(options.pop("policy"), options.pop("env"), **options)


def test_it_takes_modules_of_ones_own_and_other_ways():
    maps = agent(policy=nn.Conv2d(1, 3, 3, padding=1), env_kwargs={"train_ways": 4}).learn(1)
    assert maps.adapter.reader.shape == (3, 4, 4)
    assert maps.evaluate(2, env_kwargs={"ways": 2, "shots": 1}).values.shape == (2, 1)


def test_of_conv4_two_blocks_pool_unless_it_is_told():
    pixels = torch.randint(256, (24, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    families = ImageSet(pixels, torch.full((4,), 6), tuple("abcd"))
    env = ImageEpisodes(families, {"train": range(2), "test": range(2, 4)}, ways=2, shots=2, queries=2)
    for kwargs, shape in (({}, (64, 4, 4)), ({"pools": 1, "filters": 3}, (3, 8, 8))):
        assert agent(env=env, policy_kwargs=kwargs).embedding_shape == shape
