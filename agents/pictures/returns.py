"""The picture of returns: what unseen tasks bring after each inner step, or in each episode of a trial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metarl.agents.pictures.unseen import Pictures, Unseen

if TYPE_CHECKING:
    from metarl.agents.base import Agent


def draw(agent: Agent, unseen: Unseen) -> Pictures:
    """Return ``"returns"``, a line a task, where an adaptation has more than one stage."""
    stages = [*unseen.adaptation.experiences, unseen.query]
    if len(stages) < 2:
        return {}
    of_trial = agent.over(agent.adapter.problem).stage == "episode"
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    apart = 0.08  # error bars side by side
    for task in range(len(unseen.tasks)):
        returns = [samples.returns[task].double() for samples in stages]
        at = [stage + of_trial + apart * (task - (len(unseen.tasks) - 1) / 2) for stage in range(len(stages))]
        middle = [float(values.mean()) for values in returns]
        half = [1.96 * float(values.std()) / len(values) ** 0.5 if len(values) > 1 else 0.0 for values in returns]
        ax.errorbar(at, middle, half, fmt="o-", markersize=4, capsize=3, linewidth=1.2, label=f"task {task + 1}")
    trajectories = len(returns[0])
    title = f"Returns on unseen tasks: means and 95% intervals over {trajectories} trajectories"
    ax.set(xlabel="episode of a trial" if of_trial else "inner steps", ylabel="return")
    ax.set_title(title, fontsize="medium")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize="small")
    return {"returns": figure}
