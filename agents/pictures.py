"""Pictures of adaptation (paths, curves, accuracies), of episodes and filters, and of what a rule learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metarl import processes
from metarl.learner import Layout
from metarl.problems import PolicyProblem

if TYPE_CHECKING:
    from metarl.agents.base import Agent

PICTURE_SEED = 2**21
COLUMNS = 4
DOTS = 500
"""Coordinates of a layer that are drawn for each task."""
ACCURACY_TASKS = 50
"""Tasks of the picture of accuracy against inner steps."""


def draw(agent: Agent) -> dict[str, Figure]:
    """Return the pictures there are of an agent, by name.

    Its adaptation; of image classes also an episode and the first layer's filters; its rule's updates, gates and rates.
    """
    found = {
        "adaptation": _adaptation(agent),
        "episode": _episode(agent),
        "filters": _filters(agent),
        "updates": _updates(agent),
        "gates": _gates(agent),
        "rates": _rates(agent),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def _adaptation(agent: Agent) -> Figure | None:
    """Draw adaptation on unseen tasks: paths in the plane, curves of one variable, or accuracies; None for others."""
    generator = torch.Generator(agent.device).manual_seed(PICTURE_SEED)
    problem = agent.world.problem
    if agent.inner.steps == 0:
        return None
    shape = agent.env.observation_space.shape
    if isinstance(problem, PolicyProblem):
        return _paths(agent, problem, generator) if shape == (2,) else None
    if problem.figure == "accuracy":
        return _accuracy(agent)
    curve = getattr(agent.env.unwrapped, "input_shape", None) == (1,)
    return _curves(agent, generator) if curve else None


def _accuracy(agent: Agent) -> Figure | None:
    """Draw the accuracy on unseen tasks after each number of inner steps, up to twice as many as in training."""
    found = agent.evaluate(ACCURACY_TASKS, 2 * agent.inner.steps, seed=PICTURE_SEED)
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    low, high = np.quantile(found.values, (0.1, 0.9), axis=0)
    ax.fill_between(found.steps, low, high, color="tab:blue", alpha=0.15, label="the middle four fifths of the tasks")
    ax.errorbar(found.steps, found.mean, found.ci95, fmt="o-", capsize=3, label="mean, 95% interval")
    ax.axvline(agent.inner.steps, color="black", linewidth=0.8, linestyle="--", label="steps in training")
    family: Any = agent.env.unwrapped
    ax.axhline(1 / family.output_size, color="black", linewidth=0.8, linestyle=":", label="guessing")
    ax.set(xlabel="inner steps", ylabel="accuracy", ylim=(0, 1.02), title=f"Accuracy on {len(found.values)} unseen tasks")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(fontsize="small", loc="lower right")
    return figure


def _episode(agent: Agent) -> Figure | None:
    """Draw two unseen episodes of images, a row a class, support images on the left; None for other families."""
    family: Any = agent.env.unwrapped
    if not hasattr(family, "picture"):
        return None
    generator = torch.Generator(agent.device).manual_seed(PICTURE_SEED)
    pictures = [family.picture(family.sample_episodes(1, "test", generator)) for _ in range(2)]
    height, width = (size * 0.6 * family.ways / pictures[0].shape[0] for size in pictures[0].shape[:2])
    figure = Figure(figsize=(max(4.0, width), 2 * (height + 0.35) + 0.3), layout="constrained")
    for ax, picture in zip(figure.subplots(2, 1), pictures, strict=True):
        ax.imshow(picture, interpolation="nearest")
        ax.set_axis_off()
        ax.set_title(f"{family.ways} ways, {family.shots} shots: support images | query images", fontsize="small", loc="left")
    figure.suptitle("Unseen episodes")
    return figure


def _filters(agent: Agent) -> Figure | None:
    """Draw the filters of the first convolution before adaptation, in colour if they see three channels; None without one."""
    learner = agent.world.problem.learner
    name = next((name for name, shape in learner.shapes.items() if len(shape) == 4), None)
    if name is None:
        return None
    weight = learner.unflatten(agent.parameters)[name].cpu()
    channels = weight.shape[1]
    weight = weight if channels in (1, 3) else weight.mean(1, keepdim=True)
    rows = (len(weight) - 1) // 16 + 1
    figure = Figure(figsize=(8, 0.55 * rows + 0.6), layout="constrained")
    reach = float(weight.abs().amax()) or 1.0
    for ax in figure.subplots(rows, 16, squeeze=False).flat:
        ax.set_axis_off()
    for ax, own in zip(figure.axes, weight, strict=False):
        image = (own / reach + 1) / 2
        ax.imshow(image.permute(1, 2, 0).squeeze(-1), cmap="gray", vmin=0, vmax=1)
    figure.suptitle(f"Filters of {name.rpartition('.')[0]} before adaptation (grey: zero)", fontsize="medium")
    return figure


def _adapt(agent: Agent) -> Any:
    """Adapt to a few unseen tasks, the same ones at every call."""
    generator = torch.Generator(agent.device).manual_seed(PICTURE_SEED)
    tasks = agent.world.sample(COLUMNS, "test", generator)
    with torch.no_grad(), processes.alone():
        return agent.inner.adapt(agent.meta, tasks, generator)


def _updates(agent: Agent) -> Figure | None:
    """Draw each inner step's change of theta against the gradient, on unseen tasks; one panel a step, one colour a layer."""
    if not agent.inner.rule.learned or agent.inner.steps == 0:
        return None
    found, layout = _adapt(agent), agent.world.problem.learner.layout
    steps = _shown(len(found.experiences))
    figure = Figure(figsize=(max(4.5, 3.2 * len(steps)), 3.8), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(steps)))
    for ax, step in zip(axes, steps, strict=True):
        with torch.no_grad():
            gradient = torch.vmap(torch.func.grad(agent.world.problem.loss))(found.parameters[step], found.experiences[step])
            if agent.inner.clip is not None:
                gradient = gradient.clamp(-agent.inner.clip, agent.inner.clip)
            change = found.parameters[step + 1] - found.parameters[step]
        for layer, name in enumerate(_names(layout)):
            own = (layout.layer_index() == layer).nonzero().squeeze(1)
            own = own[:: max(1, len(own) // DOTS)].to(agent.device)
            x, y = (values[:, own].flatten().cpu().numpy() for values in (gradient, change))
            ax.plot(x, y, ".", markersize=2, alpha=0.5, label=name)
        ax.axhline(0, color="black", linewidth=0.5)
        ax.axvline(0, color="black", linewidth=0.5)
        for limits, values in ((ax.set_xlim, gradient), (ax.set_ylim, change)):
            sizes = values[:, : layout.size].abs().flatten()
            sizes = sizes[sizes.isfinite()][:: max(1, sizes.numel() // 2**20)]
            reach = 1.2 * float(sizes.quantile(0.995)) if sizes.numel() else 0.0
            limits(-(reach or 1.0), reach or 1.0)
        ax.set(title=f"step {step + 1}", xlabel="gradient")
        ax.ticklabel_format(style="sci", scilimits=(-2, 3))
    axes[0].set_ylabel("change of theta")
    axes[0].legend(fontsize="x-small", markerscale=4, title="layer", title_fontsize="x-small")
    figure.suptitle("What the rule makes of a gradient, on unseen tasks")
    return figure


def _gates(agent: Agent) -> Figure | None:
    """Draw the rule's gates over the inner steps, layer by layer, on unseen tasks: medians and the middle four fifths."""
    found, layout = _adapt(agent), agent.world.problem.learner.layout
    gates = [agent.inner.rule.gates(state) for state in found.states]
    if not gates or not gates[0]:
        return None
    figure = Figure(figsize=(4.5 * len(gates[0]), 3.8), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(gates[0])))
    steps = np.arange(1, len(gates) + 1)
    for ax, name in zip(axes, gates[0], strict=True):
        for layer, label in enumerate(_names(layout)):
            own = (layout.layer_index() == layer).to(agent.device)
            values = [gate[name][..., own].flatten().cpu().numpy() for gate in gates]
            low, middle, high = (np.array([np.quantile(value, q) for value in values]) for q in (0.1, 0.5, 0.9))
            ax.errorbar(steps + 0.06 * layer, middle, [middle - low, high - middle], fmt="o-", capsize=2, label=label)
        ax.set(xlabel="inner step", title=name, xticks=steps, xlim=(0.6, len(steps) + 0.8))
        ax.ticklabel_format(axis="y", useOffset=False)
    axes[0].legend(fontsize="x-small", title="layer", title_fontsize="x-small")
    figure.suptitle("Gates over the inner steps, on unseen tasks (bars: the middle four fifths)")
    return figure


def _rates(agent: Agent) -> Figure | None:
    """Draw how the rule's rates are spread in each parameter of the network."""
    rates = agent.inner.rule.rates_of(agent.meta)
    if rates is None or bool((rates == rates[0]).all()):
        return None
    parts = agent.world.problem.learner.layout.unflatten(rates.cpu())
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    ax = figure.subplots()
    ax.violinplot([part.flatten().numpy() for part in parts.values()], showextrema=True)
    ax.set_xticks(range(1, len(parts) + 1), list(parts), rotation=30, ha="right", fontsize="small")
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(ylabel="rate", title="Learned rates by parameter")
    return figure


def _names(layout: Layout) -> list[str]:
    """Return what to call the layers: their modules' names, or their parameters' where they belong to no module."""
    return [layer or ", ".join(name for name in layout.names if "." not in name) for layer in layout.layers]


def _shown(steps: int) -> list[int]:
    """Return which of the inner steps are drawn: all, or the first, the last and two between."""
    return sorted({round(i * (steps - 1) / (COLUMNS - 1)) for i in range(COLUMNS)}) if steps else []


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
