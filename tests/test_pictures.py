"""Pictures: which there are of which agent, and that they show the numbers they are of."""

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

import metarl
from metarl.agents.baselines import NearestNeighbour
from metarl.agents.pictures import embedding, gradient_steps
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
        ("navigation", "gradient descent", {"adaptation"}),
        ("bandit", "LSTM", {"updates", "gates"}),
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


@pytest.mark.parametrize("kind", [ProtoNet, NearestNeighbour])
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
