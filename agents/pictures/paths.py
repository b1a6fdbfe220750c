"""The picture of trajectories: an agent's paths in the plane, before and after adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from metarl.agents.pictures.unseen import Pictures, Unseen, stage_name

if TYPE_CHECKING:
    from metarl.agents.base import Agent

PATHS = 8
"""Trajectories drawn of each task."""


def draw(agent: Agent, unseen: Unseen) -> Pictures:
    """Return the paths as ``"adaptation"``, if observations are points of the plane and adapting takes steps."""
    experiences = unseen.adaptation.experiences
    if agent.env.observation_space.shape != (2,) or not experiences or experiences[0].observations.shape[-1] != 2:
        return {}
    first, last = (stage_name(agent.adapter, stage) for stage in (0, len(unseen.adaptation.experiences)))
    return {"adaptation": _paths(unseen, first, last)}


def _paths(unseen: Unseen, *labels: str) -> Figure:
    """Draw a column a task: paths before adaptation, or in a trial's first episode, above, after it, or in the last, below."""
    count = len(unseen.tasks)
    figure = Figure(figsize=(3 * count, 6.6), layout="constrained")
    axes = figure.subplots(2, count, sharex=True, sharey=True, squeeze=False)
    experiences = (unseen.adaptation.experiences[0], unseen.query)
    for row, (label, samples, colour) in enumerate(zip(labels, experiences, ("tab:gray", "tab:blue"), strict=True)):
        paths = samples.observations.unflatten(1, (samples.returns.shape[1], -1)).cpu().numpy()
        lengths = samples.lengths.long().cpu().numpy()
        for column, task in enumerate(unseen.tasks):
            ax = axes[row, column]
            for path, length in zip(paths[column, :PATHS], lengths[column, :PATHS], strict=True):
                ax.plot(*path[:length].T, linewidth=0.9, alpha=0.6, color=colour, label="path")
                ax.plot(*path[0], "o", color="black", markersize=4, label="start", zorder=3)
            if isinstance(task, Mapping) and "goal" in task:
                ax.plot(*task["goal"], "*", color="tab:red", markersize=14, label="goal", zorder=3)
            ax.set(title=f"{label}: return {samples.returns[column].mean():.1f}", aspect="equal")
    marks = dict(zip(*reversed(axes[1, 0].get_legend_handles_labels()), strict=True))  # each name once
    figure.legend(marks.values(), marks.keys(), loc="outside lower center", ncols=len(marks), fontsize="small")
    figure.suptitle(f"Paths on unseen tasks: {labels[0]}, and {labels[1]}")
    return figure
