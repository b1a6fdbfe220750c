"""The picture of an embedding: the queries of unseen episodes and what they are compared with, in two dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from metarl.agents.pictures.unseen import EPISODES, Pictures, Unseen

if TYPE_CHECKING:
    from metarl.agents.base import Agent


class Points(NamedTuple):
    """One episode in two dimensions.

    Attributes:
        queries: shape (queries, 2).
        targets: their classes, shape (queries,).
        predictions: the classes that they are taken for, shape (queries,).
        landmarks: what they are compared with, shape (landmarks, 2).
        classes: of the landmarks, shape (landmarks,).
        shares: how much of the variance the two dimensions show, shape (2,).
    """

    queries: Tensor
    targets: Tensor
    predictions: Tensor
    landmarks: Tensor
    classes: Tensor
    shares: Tensor


def draw(agent: Agent, unseen: Unseen) -> Pictures:
    """Return ``"embedding"``: a panel an episode, a colour a class; a misclassified query has a ring of the predicted one."""
    adapter: Any = agent.adapter
    figure = Figure(figsize=(5 * EPISODES + 1.5, 5), layout="constrained")
    for task, ax in enumerate(figure.subplots(1, EPISODES)):
        points = in_two_dimensions(agent, unseen, task)
        ways = int(points.classes.max()) + 1
        colours = colours_of(ways)
        queries, landmarks, taken_for = (colours(c.numpy()) for c in (points.targets, points.classes, points.predictions))
        wrong = points.predictions != points.targets
        ax.scatter(*points.queries.T, s=18, color=queries, label="query")
        ringed = "misclassified query, ringed in the colour of the class it is taken for"
        ax.scatter(*points.queries[wrong].T, s=90, facecolors="none", edgecolors=taken_for[wrong], linewidths=1.8, label=ringed)
        size = 220 / (len(points.landmarks) / ways) ** 0.5  # many would hide the queries
        ax.scatter(*points.landmarks.T, s=size, marker="*", c=landmarks, edgecolors="black", label=adapter.reader.landmark)
        ax.set_title(f"accuracy {1 - wrong.double().mean():.2f}")
        name_components(ax, points.shares)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    figure.suptitle("Unseen episodes in the embedding: a colour a class")
    return {"embedding": figure}


def in_two_dimensions(agent: Agent, unseen: Unseen, task: int) -> Points:
    """Return one episode's queries and what they are compared with, on the first two principal components of both.

    Where cosines are compared the embedding is scaled to the unit sphere first, on which the nearest is the most similar.
    """
    adapter: Any = agent.adapter
    kept, moments = adapter.row(unseen.adaptation.adapted[-1], task)
    inputs, targets = adapter.row(unseen.query, task)
    with torch.no_grad():
        embedded = adapter.embed(agent.meta, moments, inputs)
        predictions = adapter.call(agent.meta, "answer", embedded, kept).argmax(1)
        landmarks, classes = adapter.call(agent.meta, "landmarks", kept)
        embedded = adapter.call(agent.meta, "place", embedded, kept)
    both = torch.cat([embedded, landmarks]).cpu().double()
    if adapter.reader.by_direction:
        both = functional.normalize(both, dim=1)
    projected, shares = principal_components(both)
    queries, marks = torch.split(projected, [len(embedded), len(landmarks)])
    return Points(queries, targets.cpu(), predictions.cpu(), marks, classes.cpu(), shares)


def colours_of(ways: int) -> Colormap:
    """Return a colour for each class."""
    return colormaps["tab10"].resampled(10) if ways <= 10 else colormaps["turbo"].resampled(ways)


def name_components(ax: Axes, shares: Tensor) -> None:
    """Label the axes of the first two principal components with their shares of the variance, shape (2,)."""
    names = [f"component {i + 1} ({100 * float(share):.0f}% of the variance)" for i, share in enumerate(shares)]
    ax.set(xlabel=names[0], ylabel=names[1], aspect="equal")
    ax.margins(0.08)


def principal_components(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return points, shape (n, features), on their first two principal components, and these shares of the variance.

    A component that there is none of is zero: shapes (n, 2) and (2,).
    """
    centred = points - points.mean(0)
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    shares = sizes.square() / sizes.square().sum().clamp(min=torch.finfo(sizes.dtype).tiny)
    missing = max(0, 2 - len(sizes))
    return functional.pad(left * sizes, (0, missing))[:, :2], functional.pad(shares, (0, missing))[:2]
