"""The picture of refined prototypes: unseen episodes with their unlabelled images, in two dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from metarl.agents.pictures.embedding import colours_of, name_components, principal_components
from metarl.agents.pictures.unseen import EPISODES, Pictures, Unseen

if TYPE_CHECKING:
    from metarl.agents.base import Agent


class Points(NamedTuple):
    """One episode in two dimensions.

    Attributes:
        queries: shape (queries, 2).
        targets: their classes, shape (queries,).
        path: the prototypes before the first and after each refinement, shape (refinements + 1, ways, 2).
        unlabelled: shape (unlabelled examples, 2).
        shares: how much of each of these counts in all means together, in the last refinement, shape (unlabelled examples,).
        is_distractor: whether they are of none of the episode's classes, shape (unlabelled examples,).
        variances: how much of the variance the two dimensions show, shape (2,).
        accuracies: of the queries by the first and by the last prototypes.
    """

    queries: Tensor
    targets: Tensor
    path: Tensor
    unlabelled: Tensor
    shares: Tensor
    is_distractor: Tensor
    variances: Tensor
    accuracies: tuple[float, float]


def draw(agent: Agent, unseen: Unseen) -> Pictures:
    """Return ``"embedding"``: a panel an episode, a colour a class; unlabelled images are grey, fainter if they count less."""
    figure = Figure(figsize=(5 * EPISODES + 1.5, 5.3), layout="constrained")
    for task, ax in enumerate(figure.subplots(1, EPISODES)):
        points = in_two_dimensions(agent, unseen, task)
        ways = points.path.shape[1]
        colours = colours_of(ways)
        of_class = colours(torch.arange(ways).numpy())
        ax.scatter(*points.queries.T, s=18, color=colours(points.targets.numpy()), label="query")
        for label, mark, which in (
            ("without label", "o", ~points.is_distractor),
            ("without label, of another class", "X", points.is_distractor),
        ):
            if not which.any():
                continue
            alpha = (0.15 + 0.85 * points.shares[which]).clamp(max=1).numpy()
            ax.scatter(*points.unlabelled[which].T, s=26, marker=mark, color="gray", alpha=alpha, linewidths=0, label=label)
        ax.plot(*points.path.permute(2, 0, 1), color="black", linewidth=0.8)  # a line a prototype
        ax.scatter(*points.path[0].T, s=90, marker="*", c="white", edgecolors=of_class, label="prototype before refinement")
        ax.scatter(*points.path[-1].T, s=220, marker="*", c=of_class, edgecolors="black", label="refined prototype")
        before, after = points.accuracies
        ax.set_title(f"accuracy {before:.2f}, refined {after:.2f}")
        name_components(ax, points.variances)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize="small")
    figure.suptitle("Unseen episodes in the embedding: a colour a class; images without label fainter if they count less")
    return {"embedding": figure}


def in_two_dimensions(agent: Agent, unseen: Unseen, task: int) -> Points:
    """Return one episode on the first two principal components of its queries, unlabelled examples and prototypes."""
    adapter: Any = agent.adapter
    _, moments = adapter.row(unseen.adaptation.adapted[-1], task)
    inputs, targets = adapter.row(unseen.query, task)
    with torch.no_grad():
        support = adapter.embed_support(agent.meta, moments, adapter.row(unseen.adaptation.experiences[0], task))
        queries = adapter.embed(agent.meta, moments, inputs)
        path = torch.stack(adapter.call(agent.meta, "path", support))
        unlabelled = torch.cat([queries[:0], *support.unlabelled])
        shares = unlabelled.new_zeros(0)
        if len(path) > 1:
            shares = adapter.call(agent.meta, "shares", path[-2], unlabelled).sum(1)
        answers = [adapter.call(agent.meta, "answer", queries, prototypes) for prototypes in (path[0], path[-1])]
    first, last = (float((answer.argmax(1) == targets).double().mean()) for answer in answers)
    of_class = torch.cat([targets[:0], *(part[task] for part in unseen.tasks.unlabelled_targets)]).cpu()
    projected, variances = principal_components(torch.cat([queries, unlabelled, *path]).cpu().double())
    queries, unlabelled, marks = torch.split(projected, [len(queries), len(unlabelled), path.shape[0] * path.shape[1]])
    is_distractor = of_class == path.shape[1]
    marks = marks.view(*path.shape[:2], 2)
    return Points(queries, targets.cpu(), marks, unlabelled, shares.cpu(), is_distractor, variances, (first, last))
