"""Pictures of adaptation: trajectories before and after, and curves before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure

from metarl import processes
from metarl.problems import PolicyProblem

if TYPE_CHECKING:
    from metarl.agents.base import Agent

PICTURE_SEED = 2**21
COLUMNS = 4


def adaptation(agent: Agent) -> Figure | None:
    """Draw adaptation on four unseen tasks: paths of a point in the plane, or curves of one variable; None for others."""
    generator = torch.Generator(agent.device).manual_seed(PICTURE_SEED)
    problem = agent.world.problem
    shape = agent.env.observation_space.shape
    if isinstance(problem, PolicyProblem):
        return _paths(agent, problem, generator) if shape == (2,) else None
    curve = getattr(agent.env.unwrapped, "input_shape", None) == (1,)
    return _curves(agent, generator) if curve else None


def _paths(agent: Agent, problem: PolicyProblem, generator: torch.Generator) -> Figure:
    tasks = agent.world.sample(COLUMNS, "test", generator)
    with torch.no_grad(), processes.alone():
        found = agent.inner.adapt(agent.meta, tasks, generator)
        query = problem.collect(found.adapted, tasks, "query", generator)
    figure = Figure(figsize=(3 * COLUMNS, 6.4), layout="constrained")
    axes = figure.subplots(2, COLUMNS, sharex=True, sharey=True)
    batches = (
        ("before", found.experiences[0]),
        (f"after {len(found.experiences)} step" + "s" * (len(found.experiences) > 1), query),
    )
    for row, (label, batch) in enumerate(batches):
        trajectories = batch.returns.shape[1]
        paths = batch.observations.view(COLUMNS, trajectories, -1, 2).cpu().numpy()
        lengths = batch.lengths.long().cpu().numpy()
        for column, task in enumerate(tasks):
            ax = axes[row][column]
            for path, length in zip(paths[column][:8], lengths[column][:8], strict=True):
                ax.plot(path[:length, 0], path[:length, 1], linewidth=0.8, alpha=0.6, color="tab:blue" if row else "tab:gray")
            ax.plot(*paths[column][0][0], "o", color="black", markersize=4)
            if isinstance(task, dict) and "goal" in task:
                ax.plot(*task["goal"], "*", color="tab:red", markersize=14)
            ax.set(
                title=f"{label}: return {batch.returns[column].mean():.1f}", xlim=(-0.8, 0.8), ylim=(-0.8, 0.8), aspect="equal"
            )
    figure.suptitle("Paths on unseen goals (red stars), starts black")
    return figure


def _curves(agent: Agent, generator: torch.Generator) -> Figure:
    family: Any = agent.env.unwrapped
    dtype = agent.meta["theta"].dtype
    episodes = family.sample_episodes(COLUMNS, "test", generator, dtype=dtype)
    grid = torch.linspace(-5, 5, 200, device=agent.device, dtype=dtype)
    with torch.no_grad():
        found = agent.inner.adapt(agent.meta, episodes, generator)
        inputs = grid.expand(COLUMNS, -1)[..., None]
        outputs = [torch.vmap(agent.world.problem.learner)(p, inputs)[..., 0].cpu().numpy() for p in found.parameters]
    figure = Figure(figsize=(3 * COLUMNS, 3.2), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, COLUMNS, sharey=True))
    x = grid.cpu().numpy()
    for column, ax in enumerate(axes):
        query_x, query_y = (part[column, :, 0].cpu().numpy() for part in episodes.query)
        support_x, support_y = (part[column, :, 0].cpu().numpy() for part in episodes.support)
        ax.plot(x, outputs[0][column], "--", color="tab:gray", label="before")
        ax.plot(x, outputs[-1][column], color="tab:blue", label=f"after {len(outputs) - 1} step" + "s" * (len(outputs) > 2))
        ax.plot(query_x, query_y, ".", color="tab:green", label="query")
        ax.plot(support_x, support_y, "^", color="tab:red", label="support")
    axes[0].legend(fontsize="small")
    figure.suptitle("Curves of unseen tasks")
    return figure
