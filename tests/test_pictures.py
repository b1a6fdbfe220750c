"""Pictures: which there are of which agent, and that they show the numbers they are of."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

import metarl
from metarl.agents.baselines import NearestNeighbour
from metarl.agents.pictures import Unseen, attention, embedding, gradient_steps
from metarl.agents.pictures.unseen import TASKS, adapt_to_unseen, after, chosen
from metarl.agents.protonet import ProtoNet
from metarl.rules import MetaSGD
from tests.worlds import WORLDS, make

IMAGES = {"env": "tests/Images-v0", "dtype": "float64", "device": "cpu", "policy_kwargs": {"hidden": (4,)}}


def labelled(ax, label):
    return [line for line in ax.lines if line.get_label() == label]


@pytest.mark.parametrize(
    ("world", "rule", "names"),
    [
        ("navigation", "gradient descent", {"adaptation", "returns"}),
        ("bandit", "LSTM", {"returns", "updates", "gates"}),
        ("sine", "TURTLE", {"adaptation", "updates", "rates"}),
        ("sine", "rates by step", {"adaptation", "updates", "rates"}),
        ("images", "Meta-SGD", {"adaptation", "episode", "updates"}),  # whose rates start out as one
        ("images, statistics of the support set", "LSTM", {"adaptation", "episode", "updates", "gates"}),
    ],
)
def test_which_pictures_there_are(world, rule, names):
    agent = make(world, rule, inner_steps=3)
    pictures = agent.pictures()
    assert set(pictures) == names
    for figure in pictures.values():
        figure.canvas.draw()


def test_without_inner_steps_there_is_no_picture_of_them():
    assert set(make("navigation", inner_steps=0, outer="policy_gradient").pictures()) == set()
    assert set(make("images", inner_steps=0).pictures()) == {"episode"}


@pytest.mark.parametrize("kind", [ProtoNet, NearestNeighbour, metarl.SiameseNet])
def test_an_embedding_is_shown_instead_of_steps(kind):
    pictures = kind("MLP", **{**IMAGES, "batch_norm": "batch"}).pictures()
    assert set(pictures) == {"episode", "embedding"}
    for figure in pictures.values():
        figure.canvas.draw()


def test_the_same_unseen_tasks_are_drawn_again_and_leave_the_run_as_it_was():
    agent, untouched = make("sine"), make("sine")
    first, again = (adapt_to_unseen(agent).tasks.query.inputs for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(agent.learn(1).meta["theta"], untouched.learn(1).meta["theta"])


def test_paths_are_those_of_the_unseen_tasks():
    agent = make("navigation", inner_steps=2)
    unseen = adapt_to_unseen(agent)
    axes = agent.pictures()["adaptation"].axes
    assert len(axes) == 2 * TASKS
    for row, samples in enumerate((unseen.adaptation.experiences[0], unseen.query)):
        for task in range(TASKS):
            ax = axes[row * TASKS + task]
            trajectories, steps = samples.returns.shape[1], samples.observations.shape[1] // samples.returns.shape[1]
            paths = samples.observations[task].view(trajectories, steps, 2)
            drawn = labelled(ax, "path")
            assert len(drawn) == trajectories
            for line, path, length in zip(drawn, paths, samples.lengths[task].int(), strict=True):
                np.testing.assert_array_equal(line.get_xydata(), path[:length])
            np.testing.assert_allclose(labelled(ax, "goal")[0].get_xydata()[0], unseen.tasks[task]["goal"])
            assert ax.get_title() == f"{'after 2 steps' if row else 'before'}: return {samples.returns[task].mean():.1f}"


def test_curves_are_what_a_predictor_says():
    agent = make("sine", inner_steps=2)
    unseen = adapt_to_unseen(agent)
    axes = agent.pictures()["adaptation"].axes
    for task, ax in enumerate(axes):
        for label, step in (("before", 0), ("after 1 step", 1), ("after 2 steps", 2)):
            x, y = labelled(ax, label)[0].get_data()
            inputs = torch.as_tensor(x)[:, None]
            outputs, _ = agent.adapter.apply(agent.meta, agent.adapter.row(unseen.adaptation.adapted[step], task), inputs)
            np.testing.assert_allclose(y, outputs[:, 0].detach(), rtol=1e-12)
        for label, examples in (("support", unseen.tasks.support), ("query", unseen.tasks.query)):
            drawn = labelled(ax, label)[0].get_xydata()
            np.testing.assert_array_equal(drawn, torch.cat([examples.inputs[task], examples.targets[task]], dim=1))


def test_accuracies_are_an_evaluation():
    agent = make("images", inner_steps=2)
    ax = agent.pictures()["adaptation"].axes[0]
    evaluation = agent.evaluate(50, 4, seed=2**21)
    line = ax.containers[0].lines[0]
    np.testing.assert_array_equal(line.get_xdata(), range(5))
    np.testing.assert_allclose(line.get_ydata(), evaluation.mean)


def test_the_change_of_theta_against_the_gradient_is_the_rate():
    agent = make("navigation", "Meta-SGD", inner_steps=2, inner_clip=0.01)
    unseen = adapt_to_unseen(agent)
    for step in range(2):
        gradient, change = gradient_steps.gradient_and_change(agent.adapter, agent.meta, unseen.adaptation, step)
        assert gradient.abs().max() == 0.01  # the clip
        torch.testing.assert_close(change, -0.1 * gradient, rtol=1e-7, atol=1e-12)
        ax = agent.pictures()["updates"].axes[step]
        drawn = np.concatenate([line.get_xydata() for line in ax.lines[:-2]])
        assert len(drawn) == gradient.numel()
        np.testing.assert_allclose(drawn[:, 1], -0.1 * drawn[:, 0], atol=1e-12)
        np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(gradient.flatten()), atol=1e-12)


@pytest.mark.parametrize(("steps", "panels"), [(1, 1), (4, 4), (5, 5), (9, 6)])
def test_every_one_of_five_steps_is_drawn(steps, panels):
    figure = make("sine", "Meta-SGD", inner_steps=steps).pictures()["updates"]
    titles = [ax.get_title() for ax in figure.axes if ax.axison]
    assert len(titles) == panels
    assert (titles[0], titles[-1]) == ("step 1", f"step {steps}")


def test_which_are_chosen():
    assert chosen(0, 3) == []
    assert chosen(3, 3) == [0, 1, 2]
    assert chosen(11, 3) == [0, 5, 10]
    assert [after(1), after(2)] == ["after 1 step", "after 2 steps"]


def test_gates_are_medians_by_layer():
    agent = make("sine", "LSTM", inner_steps=2)
    states = adapt_to_unseen(agent).adaptation.states
    layers = agent.adapter.learner.layout.layer_index()
    axes = agent.pictures()["gates"].axes
    assert [ax.get_title() for ax in axes] == ["forget gate", "input gate"]
    for gate, ax in enumerate(axes):
        for layer, container in enumerate(ax.containers):
            middle = [np.median(state[-1][:, layers == layer, gate].sigmoid().flatten()) for state in states]
            np.testing.assert_allclose(container.lines[0].get_ydata(), middle)


def test_rates_are_drawn_by_parameter_and_by_step_where_steps_differ():
    agent = make("sine")
    agent.meta["rule.alpha"] = torch.arange(float(agent.adapter.learner.layout.size)).double()
    ax = agent.pictures()["rates"].axes[0]
    parts = agent.adapter.learner.layout.unflatten(agent.meta["rule.alpha"])
    assert [label.get_text() for label in ax.get_xticklabels()] == list(parts)
    extremes = [(low, high) for (_, low), (_, high) in _segments(ax)]
    assert extremes == [(float(part.min()), float(part.max())) for part in parts.values()]
    figure = make("sine", "rates by step", inner_steps=3).pictures()["rates"]
    assert [text.get_text() for text in figure.legends[0].texts] == ["step 1", "step 2", "step 3"]
    assert {round(low, 6) for (_, low), _ in _segments(figure.axes[0])} == {0.1, 0.05}


def _segments(ax):
    """Return the vertical bars of violins, from their lowest to their highest value."""
    lines = [
        segment for collection in ax.collections if hasattr(collection, "get_segments") for segment in collection.get_segments()
    ]
    return [tuple(map(tuple, segment)) for segment in lines if segment[0, 0] == segment[1, 0]]


def test_principal_components():
    angle = torch.tensor(0.3).double()
    first = torch.stack([angle.cos(), angle.sin(), torch.zeros(()).double()])
    second = torch.stack([-angle.sin(), angle.cos(), torch.zeros(()).double()])
    along, across = torch.tensor([-3.0, 3, 0, 0]).double(), torch.tensor([0.0, 0, 1, -1]).double()
    projected, shares = embedding.principal_components(5 + along[:, None] * first + across[:, None] * second)
    torch.testing.assert_close(projected.abs(), torch.stack([along, across], dim=1).abs())
    torch.testing.assert_close(shares, torch.tensor([0.9, 0.1]).double())
    projected, shares = embedding.principal_components(torch.tensor([[1.0], [3.0]]))
    torch.testing.assert_close(projected.abs(), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    torch.testing.assert_close(shares, torch.tensor([1.0, 0.0]))


class TwoFeatures(torch.nn.Module):
    """An embedding in the plane, whose picture keeps all distances."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(16, 2)

    def forward(self, inputs):
        return self.linear(inputs.flatten(1))


@pytest.mark.parametrize(("kind", "landmarks"), [(ProtoNet, 2), (NearestNeighbour, 4)])
def test_the_embedding_shows_what_is_near_and_rings_what_is_wrong(kind, landmarks):
    torch.manual_seed(18)  # a bad embedding: one that gets some queries wrong, but not all
    network = TwoFeatures().double()
    agent = kind(network, **{**IMAGES, "policy_kwargs": {}, "distance": "squared-euclidean", "batch_norm": "batch"})
    unseen = adapt_to_unseen(agent)
    figure = agent.pictures()["embedding"]
    rings = 0
    for task, ax in enumerate(figure.axes):
        queries, ringed, marks = (collection.get_offsets() for collection in ax.collections)
        assert len(marks) == landmarks
        colours, of_marks = ([to_hex(colour) for colour in ax.collections[i].get_facecolor()] for i in (0, 2))
        inputs, targets = unseen.tasks.query.inputs[task], unseen.tasks.query.targets[task]
        # a projection of the plane to the plane: distances are those of the embedding
        np.testing.assert_allclose(torch.pdist(torch.as_tensor(queries)), torch.pdist(network(inputs)).detach(), atol=1e-9)
        nearest = np.linalg.norm(queries[:, None] - marks[None], axis=2).argmin(1)
        wrong = [colours[i] != of_marks[near] for i, near in enumerate(nearest)]
        np.testing.assert_array_equal(ringed, queries[wrong])
        taken_for = [of_marks[near] for near, is_wrong in zip(nearest, wrong, strict=True) if is_wrong]
        assert [to_hex(colour) for colour in ax.collections[1].get_edgecolor()] == taken_for
        assert ax.get_title() == f"accuracy {1 - np.mean(wrong):.2f}"
        assert len({(int(target), colour) for target, colour in zip(targets, colours, strict=True)}) == 2
        rings += sum(wrong)
    assert rings > 0


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (metarl.SiameseNet, {}),
        (metarl.MatchingNet, {"full_context": True}),
        (metarl.RelationNet, {"policy": "Conv4", "policy_kwargs": {"filters": 2, "pools": 0}}),
    ],
)
def test_the_embedding_shows_queries_where_they_are_compared(kind, options):
    agent = kind(**{"policy": "MLP", **IMAGES, **options})
    unseen = adapt_to_unseen(agent)
    points = embedding.in_two_dimensions(agent, unseen, 1)
    kept, moments = agent.adapter.row(unseen.adaptation.adapted[-1], 1)
    reader = agent.adapter.reader
    embedded = agent.adapter.embed(agent.meta, moments, unseen.query.inputs[1])
    both = [agent.adapter.call(agent.meta, "place", embedded, kept), agent.adapter.call(agent.meta, "landmarks", kept)[0]]
    if kind is metarl.MatchingNet:
        both = [torch.nn.functional.normalize(part, dim=1) for part in both]
    assert reader.by_direction == (kind is metarl.MatchingNet)
    if kind is metarl.SiameseNet:
        torch.testing.assert_close(both[0], embedded.sigmoid())
    expected, _ = embedding.principal_components(torch.cat(both))
    torch.testing.assert_close(torch.cat([points.queries, points.landmarks]), expected)


class FlatImages(torch.nn.Module):
    """Pixels as they are, of which a sign depends on one number."""

    def __init__(self):
        super().__init__()
        self.sign = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs):
        return self.sign * inputs.flatten(1)


def test_attention_is_shown_in_the_order_of_the_classes():
    network = FlatImages().double()
    agent = metarl.MatchingNet(network, **{**IMAGES, "policy_kwargs": {}, "env_kwargs": {"queries": 4}, "scale": 9.0})
    unseen = adapt_to_unseen(agent)
    pictures = agent.pictures()
    assert set(pictures) == {"episode", "embedding", "attention"}
    axes = [ax for ax in pictures["attention"].axes if ax.get_xlabel() == "support examples, by class"]
    assert len(axes) == 2
    for task, ax in enumerate(axes):
        support, query = (agent.adapter.row(part, task) for part in (unseen.tasks.support, unseen.query))
        rows, columns = query.targets.argsort(stable=True), support.targets.argsort(stable=True)
        units = [
            torch.nn.functional.normalize(part.flatten(1), dim=1) for part in (query.inputs[rows], support.inputs[columns])
        ]
        weights = (9 * units[0] @ units[1].t()).softmax(1)
        np.testing.assert_allclose(ax.images[0].get_array(), weights, rtol=1e-6)
        predicted = (weights @ torch.eye(2).double()[support.targets[columns]]).argmax(1)
        wrong = predicted != query.targets[rows]
        crosses = [[0.5 + 2 * float(predicted[row]), float(row)] for row in wrong.nonzero().flatten()]
        np.testing.assert_allclose(ax.collections[0].get_offsets(), np.array(crosses).reshape(-1, 2))
        lines = [line.get_xydata() for line in ax.lines]
        assert [line[0][0] for line in lines[:1]] + [line[0][1] for line in lines[1:]] == [1.5, 3.5]


def test_of_many_queries_some_of_each_class_are_shown():
    agent = metarl.MatchingNet("MLP", **{**IMAGES, "env_kwargs": {"shots": 1, "queries": 5}, "full_context": True})
    shown = attention.attended(agent, adapt_to_unseen(agent), 0)
    assert shown.targets.tolist() == [0] * attention.QUERIES + [1] * attention.QUERIES
    assert shown.classes.tolist() == [0, 1]
    assert len(shown.queries) == len(shown.predictions) == len(shown.weights) == 2 * attention.QUERIES
    torch.testing.assert_close(shown.weights.sum(1), torch.ones(8).double())


def test_attention_to_what_is_no_image_is_drawn_without_images():
    agent = metarl.MatchingNet("MLP", **IMAGES)
    unseen = adapt_to_unseen(agent)
    flat = [part._replace(inputs=part.inputs.flatten(2)) for part in (unseen.tasks.support, unseen.tasks.query)]
    tasks = unseen.tasks._replace(support=flat[0], query=flat[1])
    figure = attention.draw(agent, Unseen(tasks, unseen.adaptation, flat[1]))["attention"]
    assert sum(len(ax.images) for ax in figure.axes if ax.get_ylabel() != "attention") == 2


def test_an_adaptation_that_diverges_is_drawn():
    agent = metarl.MetaSGD("MLP", "metarl/Sine-v0", rate=1e30, inner_steps=4, policy_kwargs={"init": "torch"})
    assert not agent.evaluate(3).mean[-1] < 1e30
    for figure in agent.pictures().values():
        figure.canvas.draw()


def test_a_rule_of_the_users_shows_gates_that_need_its_parameters():
    class Gated(MetaSGD):
        def gates(self, state):
            return {"rate": self.alpha}

    options = dict(WORLDS["bandit"], rule=Gated, rule_kwargs={"rate": 0.1})
    agent = metarl.Agent(options.pop("policy"), options.pop("env"), **options)
    assert "gates" in agent.pictures()
