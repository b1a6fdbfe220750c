"""The picture of recommendations: how probable an engagement with each new item is to unseen users, and what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from matplotlib.figure import Figure

from metarl.agents.pictures.unseen import Pictures, Unseen

if TYPE_CHECKING:
    from metarl.agents.base import Agent

USERS = 2
"""Users drawn."""


def draw(agent: Agent, unseen: Unseen) -> Pictures:
    """Return ``"engagement"``: a panel a user, the new items by predicted probability, coloured by what the user did."""
    with torch.no_grad():
        outputs = agent.adapter.together(agent.meta, unseen.adaptation.adapted[-1])(unseen.tasks.query.inputs)[0]
    figure = Figure(figsize=(5 * USERS, 3.6), layout="constrained")
    for ax, logits, targets in zip(figure.subplots(1, USERS, sharey=True), outputs, unseen.tasks.query.targets, strict=False):
        probability, order = logits.softmax(1)[:, 1].sort(descending=True)
        rank = torch.arange(1, len(order) + 1)
        for kind, (name, colour) in enumerate((("not engaged with", "tab:gray"), ("engaged with", "tab:green"))):
            of_kind = (targets[order] == kind).cpu()
            ax.plot(rank[of_kind], probability.cpu()[of_kind], "o", color=colour, label=name)
        ax.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
        right = ((probability > 0.5) == (targets[order] == 1)).double().mean()
        ax.set(xlabel="rank of the new item", ylim=(-0.02, 1.02), title=f"accuracy {float(right):.2f}")
    figure.axes[0].set_ylabel("probability of an engagement")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize="small")
    figure.suptitle("New items for unseen users")
    return {"engagement": figure}
