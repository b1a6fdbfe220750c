"""Prototypes that unlabelled examples refine: steps by hand, what becomes what, meta-gradients, and nothing that leaks."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch

import metarl
from metarl.adapters import DistractorCluster, MaskedSoftKMeans, Prototypes, ReadingAdapter, SoftKMeans, Support
from metarl.adapters.base import learned
from metarl.adapters.metric.semi_supervised import statistics
from metarl.agents.pictures import refinement
from metarl.agents.pictures.unseen import adapt_to_unseen
from metarl.errors import ConfigError
from metarl.learner import Learner
from metarl.tasks import Episodes
from tests.test_adapters import classification, drawn, network, seen

KINDS = [SoftKMeans, DistractorCluster, MaskedSoftKMeans]
NAMES = ["soft", "distractor-cluster", "masked"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def support(unlabelled=6, scale=1.0):
    """Two classes of two embedded examples each, and unlabelled ones."""
    inputs = scale * torch.randn(4 + unlabelled, 3, generator=generator(), dtype=torch.float64)
    targets = torch.tensor([0, 1, 1, 0])
    columns = torch.nn.functional.one_hot(targets).double()
    return Support(inputs[:4], columns, targets, (inputs[4:],) if unlabelled else ())


def reader(kind, refinements=1):
    """A reader whose own parameters are not where they start."""
    torch.manual_seed(0)
    made = kind(refinements).double()
    with torch.no_grad():
        for value in made.parameters():
            value += 0.3 * torch.randn_like(value)
    return made


def episodes():
    unlabelled = torch.randn(2, 5, 4, generator=generator(4), dtype=torch.float64)
    return Episodes(*drawn()[:2], (unlabelled,), (torch.zeros(2, 5),))


# -- by hand


def on_a_line(unlabelled, shots=1):
    """Classes at 0 and 4 on a line."""
    inputs = torch.tensor([0.0, 4.0]).repeat(shots)[:, None].double()
    targets = torch.arange(2).repeat(shots)
    return Support(inputs, torch.eye(2).repeat(shots, 1).double(), targets, (torch.tensor(unlabelled)[:, None].double(),))


@pytest.mark.parametrize("shots", [1, 3])
def test_a_step_of_soft_k_means_by_hand(shots):
    z = 1 / (1 + math.exp(-(9 - 1)))  # 1 is at the squared distances 1 and 9
    expected = [(0 * shots + 1 * z + 2 * 0.5) / (shots + z + 0.5), (4 * shots + 1 * (1 - z) + 2 * 0.5) / (shots + 1 - z + 0.5)]
    made = SoftKMeans().double().read(on_a_line([1.0, 2.0], shots))
    assert made[:, 0].tolist() == pytest.approx(expected, rel=1e-12)


def test_further_steps_begin_where_the_last_one_ended():
    given = on_a_line([1.0, 3.5])
    first, second, third = SoftKMeans(2).double().path(given)
    assert first[:, 0].tolist() == [0, 4]
    assert torch.equal(second, SoftKMeans(1).double().read(given))
    z = torch.softmax(-(given.unlabelled[0] - second.t()).square(), 1)  # (unlabelled, ways)
    torch.testing.assert_close(third[:, 0], (torch.tensor([0.0, 4.0]) + z.t() @ given.unlabelled[0][:, 0]) / (1 + z.sum(0)))


def test_the_distractors_cluster_by_hand():
    made = DistractorCluster().double()
    assert made.log_radius.item() == pytest.approx(math.log(100))
    with torch.no_grad():
        made.log_radius.fill_(math.log(2))
    odds = [math.exp(-1), math.exp(-9), math.exp(-1 / 4) / 2]  # of 1: by the classes at 0 and 4, and by the radius 2 at 0
    shares = made.shares(torch.tensor([[0.0], [4.0]]).double(), torch.tensor([[1.0]]).double())
    assert shares[0].tolist() == pytest.approx([odd / sum(odds) for odd in odds[:2]], rel=1e-12)
    far = made.shares(torch.tensor([[0.0], [4.0]]).double(), torch.tensor([[40.0]]).double())
    assert far.sum() < 1e-12  # of no class


def test_statistics_by_hand():
    columns = torch.tensor([[0.0, 2.0], [0.0, 2.0], [0.0, 2.0], [4.0, 2.0]]).double()
    # of 0, 0, 0, 4: mean 1, variance 3, third moment (-3 + 27) / 4 = 6, fourth (3 + 81) / 4 = 21
    expected = [[0, 4, 3, 6 / 3**1.5, 21 / 9 - 3], [2, 2, 0, 0, -3]]
    torch.testing.assert_close(statistics(columns), torch.tensor(expected).double())


def test_masks_by_hand():
    made = MaskedSoftKMeans().double()
    shapes = [tuple(value.shape) for value in made.network.parameters()]
    assert shapes == [(20, 5), (20,), (2, 20), (2,)]
    with torch.no_grad():
        for value in made.parameters():
            value.zero_()
        made.network[2].bias.copy_(torch.tensor([math.log(0.5), math.log(3.0)]))  # threshold 1/2, slope 3
    prototypes, unlabelled = torch.tensor([[0.0], [4.0]]).double(), torch.tensor([[1.0], [3.0], [4.0]]).double()
    # squared distances 1, 9, 16 and 9, 1, 0, of the means 26/3 and 10/3
    scaled = torch.tensor([[3 / 26, 27 / 26, 48 / 26], [2.7, 0.3, 0.0]]).double().t()
    torch.testing.assert_close(made.masks(prototypes, unlabelled), torch.sigmoid(-3 * (scaled - 0.5)))
    shares = made.masks(prototypes, unlabelled) * SoftKMeans().shares(prototypes, unlabelled)
    torch.testing.assert_close(made.shares(prototypes, unlabelled), shares)


def test_the_network_of_the_masks_sees_the_statistics_and_lets_no_gradient_through():
    made = reader(MaskedSoftKMeans)
    prototypes, unlabelled = torch.tensor([[0.0], [4.0]]).double(), torch.tensor([[1.0], [3.0], [4.0]]).double()
    distances = (unlabelled - prototypes.t()).square()
    distances = distances / distances.mean(0)
    threshold, slope = made.network(statistics(distances)).exp().unbind(1)
    torch.testing.assert_close(made.masks(prototypes, unlabelled), torch.sigmoid(-slope * (distances - threshold)))

    def constants(prototypes):  # the same with numbers in the place of thresholds and slopes
        distances = (unlabelled - prototypes.t()).square()
        return torch.sigmoid(-slope.detach() * (distances / distances.mean(0) - threshold.detach()))

    ours, theirs = (torch.autograd.functional.jacobian(f, prototypes) for f in (lambda p: made.masks(p, unlabelled), constants))
    torch.testing.assert_close(ours, theirs)


def test_masks_start_near_a_threshold_and_a_slope_of_one():
    torch.manual_seed(0)
    out = MaskedSoftKMeans().network(torch.rand(100, 5)).exp()
    assert ((out - 1).abs() < 0.05).all()
    assert out.std() > 0


# -- what becomes what


@pytest.mark.parametrize("refinements", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_without_unlabelled_examples_prototypes_are_those_of_prototypical_networks(kind, refinements):
    given = support(0)
    plain, ours = Prototypes().double(), reader(kind, refinements)
    assert torch.equal(ours.read(given), plain.read(given))
    assert torch.equal(ours.read(given._replace(unlabelled=(given.inputs[:0],))), plain.read(given))
    queries = torch.randn(5, 3, generator=generator(1), dtype=torch.float64)
    assert torch.equal(ours.answer(queries, ours.read(given)), plain.answer(queries, plain.read(given)))


def test_masks_of_one_leave_soft_k_means():
    made = MaskedSoftKMeans(2).double()
    with torch.no_grad():
        made.network[2].weight.zero_()
        made.network[2].bias.copy_(torch.tensor([100.0, 1.0]))
    given = support()
    torch.testing.assert_close(made.read(given), SoftKMeans(2).double().read(given), rtol=1e-12, atol=0)


def test_masks_of_nought_leave_prototypical_networks():
    made = MaskedSoftKMeans(2).double()
    with torch.no_grad():
        made.network[2].weight.zero_()
        made.network[2].bias.copy_(torch.tensor([-100.0, 20.0]))
    given = support()
    torch.testing.assert_close(made.read(given), Prototypes().double().read(given), rtol=1e-12, atol=0)


def test_a_cluster_of_infinite_radius_leaves_soft_k_means():
    made = DistractorCluster(2).double()
    with torch.no_grad():
        made.log_radius.fill_(40.0)
    given = support()
    torch.testing.assert_close(made.read(given), SoftKMeans(2).double().read(given), rtol=1e-12, atol=0)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_few_and_equal_unlabelled_examples_are_finite(kind, count):
    given, made = on_a_line([4.0] * count), reader(kind)
    values = torch.func.jacrev(lambda inputs: made.read(given._replace(unlabelled=(inputs,))))(given.unlabelled[0])
    assert values.isfinite().all()
    assert made.read(given).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_examples_is_of_no_account(kind):
    given, made = support(), reader(kind, 2)
    rows, others = torch.tensor([2, 0, 3, 1]), torch.tensor([5, 3, 0, 1, 4, 2])
    moved = Support(given.inputs[rows], given.columns[rows], given.targets[rows], (given.unlabelled[0][others],))
    torch.testing.assert_close(made.read(moved), made.read(given), rtol=1e-12, atol=1e-14)


def test_prototypes_that_are_not_refined_are_those_of_the_support_set():
    support = Support(torch.tensor([[0.0], [4.0]]), torch.eye(2), torch.arange(2), (torch.tensor([[6.0]]),))
    assert SoftKMeans(0).read(support).tolist() == [[0.0], [4.0]]


@pytest.mark.parametrize("refinements", [-1, 1.5])
def test_a_number_of_refinements_that_cannot_be_is_named(refinements):
    with pytest.raises(ConfigError, match=f"refinements={refinements}"):
        SoftKMeans(refinements)


# -- in an adapter


@pytest.mark.parametrize("statistics", ["batch", "support", "running"])
@pytest.mark.parametrize("kind", KINDS)
def test_meta_gradients_are_differences(kind, statistics, monkeypatch):
    module, made = network(3), reader(kind, 2)
    adapter = ReadingAdapter(classification(), Learner(module, batch_norm=statistics), made)
    meta = seen(adapter, adapter.initial_meta(module, made))
    given = episodes()
    experiences, query = adapter.experiences(given, generator()), given.query
    if kind is MaskedSoftKMeans:  # no gradient passes through the statistics: the difference has to leave them out too
        monkeypatch.setattr("metarl.adapters.metric.semi_supervised.statistics", lambda d: torch.ones(d.shape[1], 5).to(d))

    def loss(values):
        changed = {**meta, **values}
        return adapter.losses(changed, adapter.replay(changed, experiences, 2), query).mean()

    values = learned(meta)
    gradients = torch.func.grad(loss)(values)
    assert set(gradients) == {"theta", *(f"reader.{name}" for name, _ in made.named_parameters())}
    for name, value in values.items():
        direction = torch.randn(value.shape, generator=generator(3), dtype=value.dtype)
        ends = [loss({**values, name: value + sign * 1e-6 * direction}).item() for sign in (1, -1)]
        assert (gradients[name] * direction).sum().item() == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-8), name
        assert gradients[name].abs().sum() > 0, name


def answers(adapter, meta, given):
    """Return a function of the first episode's queries, and one of its unlabelled inputs, that gives the answers."""

    def of(queries, unlabelled):
        tasks = Episodes(given.support, given.query, (torch.stack([unlabelled, given.unlabelled[0][1]]),))
        adapted = adapter.replay(meta, adapter.experiences(tasks, generator()), 2)
        return adapter.apply(meta, adapter.row(adapted, 0), queries)[0]

    return of


@pytest.mark.parametrize("statistics", ["support", "running"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_query_changes_another_s_answer_and_unlabelled_inputs_do(kind, statistics):
    module, made = network(3), reader(kind)
    adapter = ReadingAdapter(classification(), Learner(module, batch_norm=statistics), made)
    meta, given = seen(adapter, adapter.initial_meta(module, made)), episodes()
    of = answers(adapter, meta, given)
    jacobians = torch.func.jacrev(of, argnums=(0, 1))(given.query.inputs[0], given.unlabelled[0][0])
    by_query = jacobians[0].abs().amax((1, 3))  # (answers, queries)
    assert (by_query.diagonal() > 0).all()
    assert (by_query - by_query.diagonal().diag() == 0).all()
    assert (jacobians[1].abs().amax((1, 3)) > 0).all()


def test_unlabelled_inputs_are_normalised_together_with_the_support_set():
    module, made = network(3), SoftKMeans().double()
    adapter = ReadingAdapter(classification(), Learner(module), made)
    meta, given = adapter.initial_meta(module, made), episodes()
    (experience,) = adapter.experiences(given, generator())
    task = adapter.row(experience, 0)
    embedded = adapter.embed_support(meta, {}, task)
    both = module(torch.cat([task.inputs, task.unlabelled[0]]))
    torch.testing.assert_close(torch.cat([embedded.inputs, embedded.unlabelled[0]]), both)


def test_readers_that_do_not_ask_are_shown_no_unlabelled_inputs():
    module = network(3)
    adapter = ReadingAdapter(classification(), Learner(module), Prototypes())
    (experience,) = adapter.experiences(episodes(), generator())
    assert experience.unlabelled == ()


# -- the agent


def agent(kind=metarl.SemiProtoNet, env=None, **options):
    env = {"shots": 1, "queries": 2, "unlabelled": 2, **(env or {})}
    options = {"policy_kwargs": {"hidden": (4,)}, "batch_norm": "running", "dtype": "float64", "device": "cpu", **options}
    return kind("MLP", "tests/Images-v0", env_kwargs=env, **options)


@pytest.mark.parametrize("refinement", NAMES)
def test_without_unlabelled_images_it_is_a_protonet(refinement):
    ours = agent(env={"unlabelled": 0}, refinement=refinement).learn(3)
    theirs = agent(metarl.ProtoNet, env={"unlabelled": 0}).learn(3)
    assert torch.equal(ours.meta["theta"], theirs.meta["theta"])
    np.testing.assert_array_equal(ours.evaluate(9).values, theirs.evaluate(9).values)


def test_a_protonet_does_not_see_unlabelled_images():
    with_, without = (agent(metarl.ProtoNet, env={"unlabelled": count}).learn(1) for count in (2, 0))
    assert torch.equal(with_.meta["theta"], without.meta["theta"])
    np.testing.assert_array_equal(with_.evaluate(9).values, without.evaluate(9).values)


def test_trained_without_them_it_refines_in_tests_only():
    inference = agent(env={"train_unlabelled": 0}).learn(3)
    plain = agent(metarl.ProtoNet, env={"unlabelled": 0}).learn(3)
    assert torch.equal(inference.meta["theta"], plain.meta["theta"])
    observation, _ = gym.make("tests/Images-v0", shots=1, queries=2, unlabelled=2, split="test").reset(seed=0)
    refined, not_refined = (made.adapt(observation).outputs(observation["query_inputs"]) for made in (inference, plain))
    assert (np.abs(refined - not_refined) > 1e-3).any()
    np.testing.assert_array_equal(inference.evaluate(9, env_kwargs={"unlabelled": 0}).values, plain.evaluate(9).values)


def test_it_predicts_from_an_observation_with_unlabelled_images():
    made = agent(refinement="soft").learn(2)
    env = gym.make("tests/Images-v0", shots=1, queries=2, unlabelled=2)
    observation, _ = env.reset(seed=3)
    outputs = made.adapt(observation).outputs(observation["query_inputs"])
    without = {name: value for name, value in observation.items() if name != "unlabelled_inputs"}
    plain = made.adapt(without).outputs(observation["query_inputs"])
    assert not np.allclose(outputs, plain)
    decided, _ = made.predict(observation)
    np.testing.assert_array_equal(decided, np.asarray(outputs).argmax(1))
    moved = {**observation, "unlabelled_inputs": observation["unlabelled_inputs"][::-1].copy()}
    np.testing.assert_allclose(made.adapt(moved).outputs(observation["query_inputs"]), outputs, rtol=1e-6)


@pytest.mark.parametrize("refinement", NAMES)
def test_it_is_tested_with_other_ways_and_more_unlabelled_images(refinement, tmp_path):
    made = agent(env={"ways": 2, "train_ways": 3}, refinement=refinement).learn(2)
    evaluation = made.evaluate(5, env_kwargs={"unlabelled": 3})
    assert np.isfinite(evaluation.values).all()
    again = metarl.SemiProtoNet.load(made.save(tmp_path / "agent"), device="cpu")
    np.testing.assert_array_equal(again.evaluate(5).values, made.evaluate(5).values)
    assert all(torch.equal(value, again.meta[name]) for name, value in made.meta.items())


# -- its picture


@pytest.mark.parametrize("refinement_", NAMES)
def test_the_picture_shows_prototypes_before_and_after_and_marks_distractors(refinement_):
    env = {"ways": 1, "shots": 2, "distractors": 1, "unlabelled": 2}
    made = agent(env=env, refinement=refinement_, refinements=2)
    unseen = adapt_to_unseen(made)
    figure = made.pictures()["embedding"]
    figure.canvas.draw()
    for task, ax in enumerate(figure.axes):
        points = refinement.in_two_dimensions(made, unseen, task)
        queries, ours, strange, before, after = (collection.get_offsets() for collection in ax.collections)
        np.testing.assert_allclose(queries, points.queries)
        np.testing.assert_allclose(
            np.concatenate([ours, strange]), points.unlabelled[points.is_distractor.argsort(stable=True)]
        )
        assert len(ours) == len(strange) == 2
        assert points.path.shape == (3, 1, 2)
        np.testing.assert_allclose(before, points.path[0])
        np.testing.assert_allclose(after, points.path[-1])
        kept, _ = made.adapter.row(unseen.adaptation.adapted[-1], task)
        embedded = made.adapter.embed(made.meta, {}, unseen.query.inputs[task])
        distances = (embedded - kept).square().sum(1)
        drawn_distances = (points.queries - points.path[-1]).square().sum(1)
        assert (drawn_distances <= distances + 1e-9).all()  # a projection
        alphas = ax.collections[1].get_alpha()
        np.testing.assert_allclose(alphas, 0.15 + 0.85 * points.shares[~points.is_distractor].clamp(max=1))


def test_without_unlabelled_images_there_is_a_picture_too():
    figure = agent(env={"unlabelled": 0}).pictures()["embedding"]
    figure.canvas.draw()
    assert len(figure.axes[0].collections) == 3  # queries, and prototypes twice
