"""Recommendation: the users and items are the model's, both readers by hand, and both beat one that does not adapt."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import metarl
from metarl.adapters import LinearWeightAdaptation, NonlinearBiasAdaptation, ReadingAdapter, Support
from metarl.agents.pictures.unseen import adapt_to_unseen
from metarl.errors import ConfigError
from metarl.learner import Learner
from metarl.problems import SupervisedProblem
from metarl.supervised import Recommendation
from metarl.supervised.recommendation import COMMON, FEATURES, LATENTS, NOISE
from tests.small import small
from tests.worlds import flat, gathered, outer_loss

LOSS = nn.functional.cross_entropy


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# -- the family


def test_engagements_are_as_probable_as_the_formula_says():
    env = Recommendation(world_seed=3)
    common = env._common
    assert common.norm().item() == pytest.approx(COMMON)
    taste, item = torch.tensor([[0.5, -1, 0, 0.25]]).double(), torch.tensor([[[1.0, 0.5, -1, 0.2]]]).double()
    liking = 0.5 - 0.5 + 0.05 + (common * item[0, 0]).sum().item()
    assert env.probability(item, taste).item() == pytest.approx(1 / (1 + math.exp(-4 * liking)))


def test_turning_items_round_gives_the_model_s_items_of_a_kind():
    env, n = Recommendation(), 100_000
    tastes = env.draw_tasks(1, "train", generator())
    qualities = 2 * torch.rand(1, n, LATENTS, generator=generator(1), dtype=torch.float64) - 1
    chance = torch.rand(1, n, generator=generator(2), dtype=torch.float64)
    for kind in (0, 1):
        turned = env.turned(qualities, chance, tastes, torch.full((1, n), kind))
        assert torch.equal(turned.abs(), qualities.abs())
        probability = env.probability(qualities, tastes)[0]
        weights = 2 * (probability if kind else 1 - probability)  # of any item against one of this kind
        for power in (1, 2, 3):
            expected = (weights[:, None] * qualities[0] ** power).mean(0)
            torch.testing.assert_close((turned[0] ** power).mean(0), expected, rtol=0, atol=0.015)
    together = env.turned(qualities, chance, tastes, torch.arange(n)[None] % 2)
    assert abs(together.mean()) < 0.01  # of both kinds alike: any item


def test_features_are_what_the_formula_says_and_bounded():
    env = Recommendation(world_seed=1)
    item, noise = torch.linspace(-1, 1, LATENTS).double(), torch.linspace(-1, 1, FEATURES).double()
    expected = 0.9 * np.tanh(env._mixing.numpy() @ item.numpy() + env._offset.numpy()) + 0.1 * noise.numpy()
    np.testing.assert_allclose(env.features(item, noise), expected)
    assert NOISE == 0.1
    shown = env.sample_episodes(100, "train", generator()).support.inputs
    assert shown.shape == (100, 20, FEATURES)
    assert 0.9 < shown.abs().max() <= 1


def test_sets_are_half_of_either_kind_in_random_order_and_of_other_items():
    episodes = Recommendation(shots=3, queries=2).sample_episodes(2000, "train", generator())
    for part, count in zip(episodes[:2], (3, 2), strict=True):
        assert (part.targets.sum(1) == count).all()
        spread = 5 * (0.25 / 2000) ** 0.5
        assert (abs(part.targets.double().mean(0) - 0.5) < spread).all()
    items = torch.cat([part.inputs for part in episodes[:2]], dim=1).flatten(0, 1)
    assert len({item.numpy().tobytes() for item in items}) == 2000 * 10


def test_worlds_differ_by_their_seed_and_splits_are_other_users_of_one():
    first, again, other = (Recommendation(world_seed=seed).sample_episodes(2, "test", generator()) for seed in (0, 0, 1))
    assert torch.equal(first.query.inputs, again.query.inputs)
    assert not torch.equal(first.query.inputs, other.query.inputs)
    env = Recommendation()
    assert not torch.equal(*(env.sample_episodes(2, split, generator()).query.inputs for split in ("train", "test")))
    for seed in (-1, 1.5, True):
        with pytest.raises(ConfigError, match=f"world_seed={seed} must be a whole number, not negative"):
            Recommendation(world_seed=seed)


def test_losses_decisions_and_rewards_by_hand():
    env = Recommendation()
    outputs, targets = torch.tensor([[0.0, math.log(3)], [0.0, -math.log(3)]]), torch.tensor([1, 1])
    assert env.loss(outputs, targets).item() == pytest.approx((math.log(4 / 3) + math.log(4)) / 2)
    assert env.decide(outputs).tolist() == [1, 0]
    assert env.measures(outputs, targets)["accuracy"].item() == 0.5
    assert env.reward(np.array([1, 0, 0]), np.array([1, 1, 0])) == pytest.approx(2 / 3)


# -- the readers

ITEMS = torch.tensor([[1.0, 0], [3, 2], [0, 2], [0, 4]]).double()
KINDS = torch.tensor([1, 1, 0, 0])
"""Means: (0, 3) of what was not engaged with, (2, 1) of what was."""


def history(items=ITEMS, kinds=KINDS, ways=2):
    return Support(items, nn.functional.one_hot(kinds, ways).to(items), kinds)


def test_linear_weight_adaptation_by_hand():
    reader = LinearWeightAdaptation().double()
    assert reader.read(history()).tolist() == [2, -2]
    with torch.no_grad():
        reader.weights.copy_(torch.tensor([0.5, 2]))
        reader.bias.fill_(-1)
    kept = reader.read(history())
    assert kept.tolist() == [4, 3.5]
    assert reader.answer(torch.tensor([[1.0, 2]]).double(), kept).tolist() == [[0, 10]]
    logits = reader.answer(torch.tensor([[1.0, -1]]).double(), kept)
    probability = 1 / (1 + math.exp(0.5))
    loss = reader.loss(torch.tensor([[1.0, -1]]).double(), kept, torch.tensor([1]), LOSS).item()
    assert logits.softmax(1)[0, 1].item() == pytest.approx(probability)
    assert loss == pytest.approx(-math.log(probability))  # the cross-entropy of the sigmoid


def test_nonlinear_bias_adaptation_by_hand():
    reader = NonlinearBiasAdaptation(2, (3,)).double()
    first, last = reader.layers
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [1, 1]]))
        first.to_bias.copy_(torch.tensor([[[0.0, 1], [0, 0], [0, 0]], [[0, 0], [-1, 0], [0, 0]]]))
        last.weight.copy_(torch.tensor([[1.0, 10, 100]]))
        last.to_bias.copy_(torch.tensor([[[1.0, 1]], [[1, 0]]]))
    kept = reader.read(history())
    assert [bias.tolist() for bias in kept] == [[3, -2, 0], [5]]  # of (0, 3) and (2, 1)
    # (1, 1): (1 + 3, 1 - 2, 2) is (4, 0, 2) after the ReLU
    assert reader.answer(torch.ones(1, 2).double(), kept).tolist() == [[0, 4 + 200 + 5]]
    assert len(NonlinearBiasAdaptation(2, (3, 4)).layers) == 3
    assert len(NonlinearBiasAdaptation(2, ()).layers) == 1
    with pytest.raises(ConfigError, match=r"hidden\[0\]=0 must be above zero"):
        NonlinearBiasAdaptation(2, (0,))


def readers():
    torch.manual_seed(0)
    return [LinearWeightAdaptation().double(), NonlinearBiasAdaptation(2, (5,)).double()]


@pytest.mark.parametrize("reader", readers(), ids=lambda reader: type(reader).__name__)
class TestReaders:
    def test_the_order_of_a_history_does_not_matter_and_queries_do_not_meet(self, reader):
        order = torch.tensor([2, 0, 3, 1])
        queries = torch.tensor([[1.0, 2], [-1, 0.5]]).double()
        kept = reader.read(history())
        other = reader.read(history(ITEMS[order], KINDS[order]))
        torch.testing.assert_close(reader.answer(queries, kept), reader.answer(queries, other))
        jacobian = torch.func.jacrev(lambda q: reader.answer(q, kept))(queries)  # (queries, outputs, queries, features)
        assert not jacobian[0, :, 1].any()
        assert not jacobian[1, :, 0].any()
        assert jacobian[0, 1, 0].any()

    def test_a_history_without_items_of_a_kind_has_zeros_for_them(self, reader):
        queries = torch.tensor([[1.0, 2]]).double()
        engaged = reader.answer(queries, reader.read(history(kinds=torch.ones(4, dtype=torch.long))))
        padded = torch.cat([ITEMS, torch.zeros(1, 2).double()])
        same = reader.answer(queries, reader.read(history(padded, torch.tensor([1, 1, 1, 1, 0]))))
        torch.testing.assert_close(engaged, same)

    def test_other_numbers_of_classes_are_refused(self, reader):
        with pytest.raises(ConfigError, match=r"tells two classes apart, .* and this support set has 3: use metarl/Recommend"):
            reader.read(history(ways=3))

    def test_values_are_refused(self, reader):
        with pytest.raises(ConfigError, match="compares classes by their support examples, and there are none here"):
            ReadingAdapter(SupervisedProblem(LOSS), Learner(nn.Linear(2, 2)), reader)


# -- the agents


@pytest.mark.parametrize("kind", ["LWA", "NLBA"])
@pytest.mark.parametrize("world", ["tests/Images-v0", "metarl/Recommendation-v0"])
def test_the_meta_gradient_is_the_difference(kind, world):
    options = {
        "env": world,
        "batch_norm": "batch",
        "policy_kwargs": {"hidden": (4,), **({"activation": "tanh"} if "Recommend" in world else {})},
    }
    agent = small(kind, **options)
    loss, theta = outer_loss(agent, gathered(agent)), flat(agent.meta)
    gradient = torch.func.grad(loss)(theta)
    direction = torch.randn(theta.shape, generator=generator(), dtype=torch.float64)
    difference = (loss(theta + 1e-6 * direction) - loss(theta - 1e-6 * direction)) / 2e-6
    assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=1e-5)
    assert gradient[-1] != 0  # the reader's too


def recommender(cls, **options):
    options = {"meta_batch": 16, "outer": metarl.GradientDescent(0.01), "device": "cpu", **options}
    return cls("MLP", "metarl/Recommendation-v0", **options)


@pytest.mark.slow
def test_both_beat_a_classifier_that_does_not_adapt_on_unseen_users():
    logistic = recommender(metarl.MAML, inner_steps=0, policy_kwargs={"hidden": ()}).learn(60, log_interval=100)
    fixed = logistic.evaluate(500)
    for cls, iterations in ((metarl.LWA, 40), (metarl.NLBA, 120)):
        agent = recommender(cls, policy_kwargs={"hidden": (16,), "activation": "tanh"})
        adapted = agent.learn(iterations, log_interval=200).evaluate(500)
        assert adapted.mean[-1] > fixed.mean[-1] + 0.08
    assert 0.55 < fixed.mean[-1] < 0.65  # what all users share can be known


@pytest.mark.parametrize("cls", [metarl.LWA, metarl.NLBA])
def test_a_seed_fixes_a_run(cls):
    first, again, other = (recommender(cls, seed=seed).learn(3, log_interval=10) for seed in (1, 1, 2))
    assert torch.equal(flat(first.meta), flat(again.meta))
    assert not torch.equal(flat(first.meta), flat(other.meta))
    assert np.array_equal(first.evaluate(20).values, again.evaluate(20).values)
    observation, _ = first.env.reset(seed=0)
    assert first.env.step(first.predict(observation)[0])[1] >= 0


@pytest.mark.parametrize("cls", [metarl.LWA, metarl.NLBA])
def test_only_two_ways_are_taken(cls):
    with pytest.raises(ConfigError, match=r"tells two classes apart, .* and this support set has 3: .* or ways=2"):
        cls("MLP", "tests/Images-v0", env_kwargs={"ways": 3, "shots": 1}, policy_kwargs={"hidden": (4,)})
    with pytest.raises(ConfigError, match="train_ways=3 differs from ways=2"):
        cls("MLP", "tests/Images-v0", env_kwargs={"train_ways": 3, "shots": 1}, policy_kwargs={"hidden": (4,)})
    with pytest.raises(ConfigError, match="compares classes"):
        cls("MLP", "metarl/Sine-v0")


def test_the_picture_ranks_new_items_by_their_probability():
    agent = recommender(metarl.NLBA)
    unseen = adapt_to_unseen(agent)
    figure = agent.pictures()["engagement"]
    for user, ax in enumerate(figure.axes):
        query = unseen.tasks.query
        outputs, _ = agent.adapter.apply(agent.meta, agent.adapter.row(unseen.adaptation.adapted[-1], user), query.inputs[user])
        probability = outputs.softmax(1)[:, 1].detach()
        for kind, line in enumerate(ax.lines[:2]):
            rank, drawn = line.get_data()
            expected = probability[query.targets[user] == kind].sort(descending=True).values
            np.testing.assert_allclose(drawn, expected, rtol=1e-5)
            ranks = [int((probability >= value).sum()) for value in expected]
            assert rank.tolist() == ranks
        right = (outputs.argmax(1) == query.targets[user]).double().mean()
        assert ax.get_title() == f"accuracy {right:.2f}"
    figure.canvas.draw()
