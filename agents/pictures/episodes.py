"""Pictures of few-shot episodes: curves or accuracies as adaptation goes on, the images, and the first layer's filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metarl.adapters.base import shared
from metarl.agents.pictures.unseen import EPISODES, PICTURE_SEED, Pictures, Unseen, after, chosen

if TYPE_CHECKING:
    from metarl.agents.base import Agent

ACCURACY_TASKS = 50
"""Tasks of the picture of accuracy against inner steps."""
CURVES = 6
"""Curves of one task that are drawn, at most."""
POINTS = 200
"""Of a curve."""
FILTER_COLUMNS = 16


def draw(agent: Agent, unseen: Unseen, family: Any) -> Pictures:
    """Return the pictures that a family of episodes has.

    ``"adaptation"``: curves if a number is predicted from a number, or the accuracy, where adapting takes steps;
    ``"episode"``: the images, where the family can show them; ``"filters"``, where the network's weights are filters.
    """
    pictures = {}
    if agent.adapter.steps and family.metric == "accuracy":
        pictures["adaptation"] = _accuracy(agent, family)
    if agent.adapter.steps and (family.input_shape, family.output_size) == ((1,), 1):
        pictures["adaptation"] = _curves(agent, unseen)
    if hasattr(family, "picture"):
        pictures["episode"] = _episode(agent, unseen, family)
    learner = agent.adapter.learner
    name = next((name for name, shape in learner.shapes.items() if len(shape) == 4), None)
    if name is not None:
        pictures["filters"] = _filters(name, learner.unflatten(agent.meta["theta"], shared(agent.meta))[name].cpu())
    return pictures


def _curves(agent: Agent, unseen: Unseen) -> Figure:
    """Draw what is predicted over the range of the inputs, before adaptation and as it goes on."""
    support, query = unseen.tasks.support, unseen.tasks.query
    inputs = torch.cat([support.inputs, query.inputs], dim=1)
    grid = torch.linspace(float(inputs.min()), float(inputs.max()), POINTS).to(inputs)
    count, states = len(inputs), unseen.adaptation.adapted
    steps = chosen(len(states), CURVES)

    def predict(apply: Any, inputs: Any) -> Any:
        return apply(inputs)[0]

    with torch.no_grad():
        every = grid.expand(count, -1)[..., None]
        outputs = {step: agent.adapter.of_tasks(predict, agent.meta, states[step], every)[..., 0] for step in steps}
    figure = Figure(figsize=(3 * count, 3.6), layout="constrained")
    axes = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    targets = torch.cat([support.targets, query.targets], dim=1)
    low, high = float(targets.min()), float(targets.max())
    shades = colormaps["Blues"](np.linspace(0.35, 0.95, len(steps) - 1))
    for column, ax in enumerate(axes):
        ax.plot(grid.cpu(), outputs[0][column].cpu(), "--", color="tab:gray", label="before")
        for step, shade in zip(steps[1:], shades, strict=True):
            width = 2.0 if step == steps[-1] else 1.0
            ax.plot(grid.cpu(), outputs[step][column].cpu(), color=shade, linewidth=width, label=after(step))
        for name, mark, colour, examples in (("query", ".", "tab:green", query), ("support", "^", "tab:red", support)):
            ax.plot(*(part[column, :, 0].cpu() for part in examples), mark, color=colour, label=name)
        ax.set(
            xlabel="input", ylim=(low - 0.3 * (high - low), high + 0.3 * (high - low))
        )  # a diverging curve leaves the picture
    axes[0].set_ylabel("target")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    figure.suptitle("Curves of unseen tasks")
    return figure


def _accuracy(agent: Agent, family: Any) -> Figure:
    """Draw the accuracy on unseen tasks after each number of inner steps, up to twice as many as in training."""
    evaluation = agent.evaluate(ACCURACY_TASKS, 2 * agent.adapter.steps, seed=PICTURE_SEED)
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    low, high = np.quantile(evaluation.values, (0.1, 0.9), axis=0)
    steps = evaluation.steps
    ax.fill_between(steps, low, high, color="tab:blue", alpha=0.15, label="the middle four fifths of the tasks")
    ax.errorbar(steps, evaluation.mean, evaluation.ci95, fmt="o-", capsize=3, label="mean, 95% interval")
    ax.axvline(agent.adapter.steps, color="black", linewidth=0.8, linestyle="--", label="steps in training")
    ax.axhline(1 / family.output_size, color="black", linewidth=0.8, linestyle=":", label="guessing")
    ax.set(xlabel="inner steps", ylabel="accuracy", ylim=(0, 1.02), title=f"Accuracy on {len(evaluation.values)} unseen tasks")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    return figure


def _episode(agent: Agent, unseen: Unseen, family: Any) -> Figure:
    """Draw unseen episodes of images, a row a class, support images on the left."""
    images = [family.picture(agent.source.slice(unseen.tasks, slice(i, i + 1))) for i in range(EPISODES)]
    height, width = (size * 0.6 * family.ways / images[0].shape[0] for size in images[0].shape[:2])
    figure = Figure(figsize=(max(4.0, width), EPISODES * (height + 0.35) + 0.3), layout="constrained")
    for ax, image in zip(figure.subplots(EPISODES, 1), images, strict=True):
        ax.imshow(image, interpolation="nearest")
        ax.set_axis_off()
        sets = "support images | query images" + " | images without labels" * len(unseen.tasks.unlabelled)
        ax.set_title(f"{family.ways}-way {family.shots}-shot: {sets}", fontsize="small", loc="left")
    figure.suptitle("Unseen episodes")
    return figure


def _filters(name: str, weight: torch.Tensor) -> Figure:
    """Draw the filters of a convolution before adaptation, in colour if they see three channels, else their mean over channels.

    Args:
        name: the weight's.
        weight: shape (filters, channels, height, width).
    """
    weight = weight if weight.shape[1] in (1, 3) else weight.mean(1, keepdim=True)
    rows = (len(weight) - 1) // FILTER_COLUMNS + 1
    figure = Figure(figsize=(8, 0.55 * rows + 0.6), layout="constrained")
    reach = float(weight.abs().amax()) or 1.0
    for ax in figure.subplots(rows, FILTER_COLUMNS, squeeze=False).flat:
        ax.set_axis_off()
    for ax, kernel in zip(figure.axes, weight, strict=False):
        image = (kernel / reach + 1) / 2
        ax.imshow(image.permute(1, 2, 0).squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1)
    figure.suptitle(f"Filters of {name.rpartition('.')[0]}, the same for every task at first (grey: zero)", fontsize="medium")
    return figure
