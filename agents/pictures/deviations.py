"""The picture of predicted distributions: curves of unseen tasks with a band of deviations around the means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from matplotlib.figure import Figure

from metarl.agents.pictures.unseen import Pictures, Unseen

if TYPE_CHECKING:
    from metarl.agents.base import Agent

POINTS = 200
"""Of a curve."""
BAND = 2
"""The half width of the band, in deviations."""


def draw(agent: Agent, unseen: Unseen) -> Pictures:
    """Return ``"deviations"``: a panel a task; of an agent whose reader has a ``distribution``, where a curve can be drawn."""
    family: Any = agent.env.unwrapped
    if (family.input_shape, family.output_size) != ((1,), 1):
        return {}
    support, query = unseen.tasks.support, unseen.tasks.query
    inputs = torch.cat([support.inputs, query.inputs], dim=1)
    grid = torch.linspace(float(inputs.min()), float(inputs.max()), POINTS).to(inputs)[:, None]
    figure = Figure(figsize=(3 * len(inputs), 3.6), layout="constrained")
    axes = figure.subplots(1, len(inputs), sharey=True, squeeze=False)[0]
    for task, ax in enumerate(axes):
        means, deviations = (values[:, 0].cpu() for values in _distribution(agent, unseen, task, grid))
        at = grid[:, 0].cpu()
        ax.plot(at, means, color="tab:blue", label="mean")
        low, high = means - BAND * deviations, means + BAND * deviations
        ax.fill_between(at, low, high, color="tab:blue", alpha=0.2, label=f"{BAND} deviations")
        for name, mark, colour, examples in (("query", ".", "tab:green", query), ("support", "^", "tab:red", support)):
            ax.plot(*(part[task, :, 0].cpu() for part in examples), mark, color=colour, label=name)
        ax.set(xlabel="input")
    axes[0].set_ylabel("target")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    figure.suptitle("Predicted distributions of unseen tasks")
    return {"deviations": figure}


def _distribution(agent: Agent, unseen: Unseen, task: int, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return one task's means and deviations at inputs, each of shape (inputs, 1)."""
    adapter: Any = agent.adapter
    kept, moments = adapter.row(unseen.adaptation.adapted[-1], task)
    with torch.no_grad():
        embedded = adapter.embed(agent.meta, moments, inputs)
        means, deviations = adapter.call(agent.meta, "distribution", embedded, kept)
    return means, deviations
