"""Pictures of a memory: what is read of it as unseen sequences go on, and the accuracy at each presentation of a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from metarl.adapters.memory import MANNReader
from metarl.agents.pictures.unseen import EPISODES, PICTURE_SEED, Pictures, Unseen

if TYPE_CHECKING:
    from metarl.agents.memory import MemoryAgent

TASKS = 50
"""Tasks of the picture of accuracy."""


def draw(agent: MemoryAgent, unseen: Unseen) -> Pictures:
    """Return ``"memory"``, where there is an external one, and ``"instances"``, where classes are shown more than once."""
    adapter: Any = agent.adapter
    pictures = {}
    if isinstance(adapter.reader, MANNReader):
        pictures["memory"] = _memory(agent, unseen)
    shots = agent.env.unwrapped.shots  # type: ignore[attr-defined]
    if adapter.problem.metric == "accuracy" and shots > 1:
        pictures["instances"] = _instances(agent, shots)
    return pictures


def read_weights(agent: MemoryAgent, unseen: Unseen, task: int) -> Tensor:
    """Return how much of every slot is read at every example of an unseen support set, the heads' mean, (examples, slots)."""
    adapter: Any = agent.adapter
    support = adapter.row(unseen.adaptation.experiences[0], task)
    _, moments = adapter.row(unseen.adaptation.adapted[-1], task)
    with torch.no_grad():
        embedded = support._replace(inputs=adapter.embed(agent.meta, moments, support.inputs))
        steps = adapter.call(agent.meta, "steps", embedded)
    return torch.stack([state.read_weights.mean(0) for _, state in steps]).cpu()


def _memory(agent: MemoryAgent, unseen: Unseen) -> Figure:
    """Draw the reads of a few sequences, a panel each: slots from top to bottom, examples from left to right."""
    figure = Figure(figsize=(6 * EPISODES, 5), layout="constrained")
    targets = unseen.tasks.support.targets.cpu()
    axes = figure.subplots(1, EPISODES)
    for task, ax in enumerate(axes):
        weights = read_weights(agent, unseen, task)
        image = ax.imshow(weights.T.numpy(), aspect="auto", cmap="magma", interpolation="nearest", vmin=0)
        figure.colorbar(image, ax=ax, label="read weight, mean of the heads")
        ax.set(xlabel="example", ylabel="slot")
        ax.set_title(f"episode {task + 1}", pad=14)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if agent.adapter.problem.metric == "accuracy":
            classes = targets[task]
            colours = colormaps["tab10"](classes.numpy() % 10)
            ax.scatter(range(len(classes)), [1.02] * len(classes), c=colours, transform=ax.get_xaxis_transform(), clip_on=False)
            ax.set_xlabel("example, its class by colour above")
    figure.suptitle("What is read of the memory in unseen sequences")
    return figure


def _instances(agent: MemoryAgent, shots: int) -> Figure:
    """Draw the accuracy at each presentation of a class."""
    evaluation = agent.accuracy_by_instance(TASKS, shots, seed=PICTURE_SEED)
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    ax.errorbar(evaluation.steps, evaluation.mean, evaluation.ci95, fmt="o-", capsize=3, label="mean, 95% interval")
    ax.axhline(1 / agent.source.outputs, color="black", linewidth=0.8, linestyle=":", label="guessing")
    ax.set(xlabel="presentation of a class", ylabel="accuracy", ylim=(0, 1.02), title=f"Accuracy on {TASKS} unseen tasks")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="lower right", fontsize="small")
    return figure
