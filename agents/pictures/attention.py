"""The picture of attention: what the queries of unseen episodes attend to in the support set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from metarl.agents.pictures.unseen import EPISODES, Pictures, Unseen

if TYPE_CHECKING:
    from metarl.agents.base import Agent

QUERIES = 4
"""Of each class that are drawn, at most."""


class Attention(NamedTuple):
    """What one episode's queries attend to, both ordered by class.

    Attributes:
        weights: shape (queries, examples).
        queries: the inputs of the queries, shape (queries, ...).
        targets: their classes, shape (queries,).
        predictions: the classes that they are taken for, shape (queries,).
        examples: the inputs of the support set, shape (examples, ...).
        classes: their classes, shape (examples,).
    """

    weights: Tensor
    queries: Tensor
    targets: Tensor
    predictions: Tensor
    examples: Tensor
    classes: Tensor


def draw(agent: Agent, unseen: Unseen) -> Pictures:
    """Return ``"attention"``: a panel an episode, a row a query, a column a support example, with their images if they are.

    It is for agents whose reader has a method ``attention(queries, kept)`` that returns weights, shape (queries, examples), in
    the order of the support set as it was read. A misclassified query has a cross at the class that it is taken for.
    """
    figure = Figure(figsize=(5.5 * EPISODES, 5), layout="constrained")
    parts: Any = figure.subfigures(1, EPISODES)
    for task, part in enumerate(parts):
        shown = attended(agent, unseen, task)
        rows, columns = shown.weights.shape
        grid = part.add_gridspec(2, 2, width_ratios=(1, columns), height_ratios=(1, rows))
        ax = part.add_subplot(grid[1, 1])
        image = ax.imshow(shown.weights.numpy(), aspect="auto", cmap="viridis", vmin=0, interpolation="nearest")
        _lines_between_classes(ax, shown)
        wrong = (shown.predictions != shown.targets).nonzero().flatten()
        centres = [float((shown.classes == shown.predictions[row]).nonzero().double().mean()) for row in wrong]
        ax.scatter(centres, wrong, marker="x", color="tab:red", label="misclassified query: the class it is taken for")
        accuracy = 1 - len(wrong) / rows
        ax.set(xlabel="support examples, by class", xticks=[], yticks=[])
        part.suptitle(f"accuracy of these queries {accuracy:.2f}", fontsize="medium")
        if shown.queries.ndim == 4:
            _images(part.add_subplot(grid[0, 1]), shown.examples, along=2)
            _images(part.add_subplot(grid[1, 0]), shown.queries, along=1)
        ax.set_ylabel("queries, by class")
        part.colorbar(image, ax=ax, label="attention")
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", fontsize="small")
    figure.suptitle("What the queries of unseen episodes attend to")
    return {"attention": figure}


def attended(agent: Agent, unseen: Unseen, task: int) -> Attention:
    """Return what some queries of each class of one episode attend to, ordered by class."""
    adapter: Any = agent.adapter
    kept, moments = adapter.row(unseen.adaptation.adapted[-1], task)
    inputs, targets = adapter.row(unseen.query, task)
    support = adapter.row(unseen.tasks.support, task)
    with torch.no_grad():
        embedded = adapter.embed(agent.meta, moments, inputs)
        weights = adapter.call(agent.meta, "attention", embedded, kept)
        predictions = adapter.call(agent.meta, "answer", embedded, kept).argmax(1)
    rows = torch.cat([(targets == k).nonzero().flatten()[:QUERIES] for k in targets.unique()])
    columns = support.targets.argsort(stable=True)
    queries = (part[rows].cpu() for part in (inputs, targets, predictions))
    return Attention(weights[rows][:, columns].cpu(), *queries, *(part[columns].cpu() for part in support))


def _lines_between_classes(ax: Axes, shown: Attention) -> None:
    for classes, line in ((shown.classes, ax.axvline), (shown.targets, ax.axhline)):
        for place in (classes.diff() != 0).nonzero().flatten():
            line(float(place) + 0.5, color="white", linewidth=0.8)


def _images(ax: Axes, images: Tensor, along: int) -> None:
    """Draw images of shape (images, channels, height, width) in a row (``along=2``) or in a column (1)."""
    low, high = images.min(), images.max()
    strip = torch.cat(list((images - low) / (high - low).clamp(min=1e-6)), dim=along).permute(1, 2, 0)
    ax.imshow(strip.squeeze(-1).numpy(), cmap="gray_r", vmin=0, vmax=1, aspect="auto")
    ax.set_axis_off()
