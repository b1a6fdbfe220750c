"""Pictures of what a rule has learned: its updates against gradients, its gates, and its rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from metarl.adapters import Adaptation, GradientAdapter, Meta
from metarl.agents.pictures.unseen import Pictures, Unseen, chosen
from metarl.learner import Layout

if TYPE_CHECKING:
    from metarl.agents.base import Agent

STEPS = 6
"""Inner steps drawn, at most."""
COLUMNS = 3
"""Panels side by side."""
DOTS = 500
"""Coordinates of a layer that are drawn for each task, at most."""
RATES = 5000
"""Rates of one parameter that their spread is drawn of, at most."""
LEGEND_ROWS = 25


def draw(agent: Agent, unseen: Unseen) -> Pictures:
    """Return a rule's pictures.

    ``"updates"`` and ``"rates"`` of a rule that is learned, if it takes steps, and has rates that differ; ``"gates"`` of a
    rule that has some.
    """
    adapter: Any = agent.adapter
    pictures = {}
    if adapter.rule.learned and adapter.steps:
        pictures["updates"] = _updates(adapter, agent.meta, unseen.adaptation)
    gates = [adapter.gates(agent.meta, state) for state in unseen.adaptation.states]
    if gates and gates[0]:
        pictures["gates"] = _gates(adapter.learner.layout, gates)
    rates = [adapter.rates(agent.meta, step) for step in range(max(1, adapter.steps))]
    if adapter.rule.learned and rates[0] is not None and any(bool((rate != rates[0][0]).any()) for rate in rates):
        pictures["rates"] = _rates(adapter.learner.layout, torch.stack(rates).cpu())
    return pictures


def gradient_and_change(adapter: GradientAdapter, meta: Meta, adaptation: Adaptation, step: int) -> tuple[Tensor, Tensor]:
    """Return the gradient that the rule saw at a step, clipped if it is, and what it made theta change by: (tasks, P) each."""
    theta, after = (adaptation.adapted[number][0] for number in (step, step + 1))

    def loss(theta: Tensor) -> Tensor:  # the tasks' losses depend on their own theta alone: one gradient serves all
        return adapter.losses(meta, (theta, {}), adaptation.experiences[step]).sum()

    gradient: Tensor = torch.func.grad(loss)(theta)
    return gradient if adapter.clip is None else gradient.clamp(-adapter.clip, adapter.clip), after - theta


def _updates(adapter: GradientAdapter, meta: Meta, adaptation: Adaptation) -> Figure:
    """Draw each inner step's change of theta against the gradient; one panel a step, one colour a layer, a dot a coordinate."""
    layout, names = adapter.learner.layout, _layer_names(adapter.learner.layout)
    of_layer = layout.layer_index()
    steps = chosen(adapter.steps, STEPS)
    # four panels are two by two
    columns = len(steps) if len(steps) <= COLUMNS else (len(steps) + 1) // 2
    rows = -(-len(steps) // columns)
    figure = Figure(figsize=(3.3 * columns + 1.5, 3.4 * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    for ax, step in zip(axes, steps, strict=False):
        gradient, change = (values.detach().cpu() for values in gradient_and_change(adapter, meta, adaptation, step))
        for layer, (name, colour) in enumerate(zip(names, _colours(len(names)), strict=True)):
            coordinates = _thinned((of_layer == layer).nonzero().squeeze(1), DOTS)
            dots = (values[:, coordinates].flatten() for values in (gradient, change))
            ax.plot(*dots, ".", markersize=2.5, alpha=0.5, color=colour, label=name)
        ax.axhline(0, color="black", linewidth=0.5)
        ax.axvline(0, color="black", linewidth=0.5)
        ax.set(title=f"step {step + 1}", xlim=_limits(gradient), ylim=_limits(change))
        ax.ticklabel_format(style="sci", scilimits=(-2, 3))
    for ax in axes[len(steps) :]:
        ax.set_axis_off()
    figure.supxlabel("gradient")
    figure.supylabel("change of theta")
    _layer_legend(figure, len(names), markerscale=4)
    figure.suptitle("What the rule makes of a gradient, on unseen tasks")
    return figure


def _gates(layout: Layout, gates: Sequence[dict[str, Tensor]]) -> Figure:
    """Draw gates over the inner steps, layer by layer: medians and the middle four fifths.

    Args:
        layout: of theta.
        gates: of each step by name, shape (tasks, P).
    """
    figure = Figure(figsize=(4.5 * len(gates[0]) + 1.5, 3.8), layout="constrained")
    axes = figure.subplots(1, len(gates[0]), squeeze=False)[0]
    of_layer, names = layout.layer_index(), _layer_names(layout)
    steps = np.arange(1, len(gates) + 1)
    apart = 0.5 / len(names)  # error bars side by side
    for ax, name in zip(axes, gates[0], strict=True):
        for layer, (label, colour) in enumerate(zip(names, _colours(len(names)), strict=True)):
            values = [gate[name].cpu()[..., of_layer == layer].flatten().numpy() for gate in gates]
            low, middle, high = np.quantile(values, (0.1, 0.5, 0.9), axis=1)
            at = steps + apart * (layer - (len(names) - 1) / 2)
            ax.errorbar(at, middle, [middle - low, high - middle], fmt="o-", markersize=4, capsize=2, color=colour, label=label)
        ax.set(xlabel="inner step", title=name, xlim=(0.5, len(steps) + 0.5))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.ticklabel_format(axis="y", useOffset=False)
    _layer_legend(figure, len(names))
    figure.suptitle("Gates over the inner steps, on unseen tasks (bars: the middle four fifths)")
    return figure


def _rates(layout: Layout, rates: Tensor) -> Figure:
    """Draw how the rates are spread in each parameter of the network, step by step if the steps differ.

    Args:
        layout: of theta.
        rates: of each step, shape (steps, P).
    """
    steps = chosen(len(rates), STEPS) if bool((rates != rates[0]).any()) else [0]
    figure = Figure(figsize=(max(5.0, 2 + 0.6 * len(layout.names) * len(steps) ** 0.5), 4.5), layout="constrained")
    ax = figure.subplots()
    width = 0.8 / len(steps)
    at = np.arange(len(layout.names))
    for number, (step, colour) in enumerate(zip(steps, _colours(len(steps)), strict=True)):
        parts = [_thinned(part.flatten(), RATES).numpy() for part in layout.unflatten(rates[step]).values()]
        places = at + width * (number - (len(steps) - 1) / 2)
        violins = ax.violinplot(parts, places, widths=0.9 * width, showmedians=True)
        for artist in (*violins.pop("bodies"), *violins.values()):  # type: ignore[misc]
            artist.set_color(colour)
        ax.plot([], color=colour, label=f"step {step + 1}")
    ax.set_xticks(at, layout.names, rotation=30, ha="right", fontsize="small")
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(ylabel="rate", title="Learned rates by parameter")
    if len(steps) > 1:
        figure.legend(loc="outside right center", fontsize="x-small")
    return figure


def _layer_names(layout: Layout) -> list[str]:
    """Return what to call the layers: their modules' names, or their parameters' where they belong to no module."""
    return [layer or ", ".join(name for name in layout.names if "." not in name) for layer in layout.layers]


def _layer_legend(figure: Figure, layers: int, **kwargs: Any) -> None:
    """Put the first panel's legend beside the panels."""
    marks = figure.axes[0].get_legend_handles_labels()
    columns = -(-layers // LEGEND_ROWS)
    figure.legend(*marks, loc="outside right center", title="layer", fontsize="x-small", ncols=columns, **kwargs)


def _colours(count: int) -> NDArray[np.float64]:
    """Return one colour for each of some things in order, shape (count, 4)."""
    colours: NDArray[np.float64] = colormaps["viridis"](np.linspace(0, 0.88, count))
    return colours


def _thinned(values: Tensor, most: int) -> Tensor:
    """Return every so manieth of some values, at most ``most``."""
    return values[:: -(-len(values) // most) or 1]


def _limits(values: Tensor) -> tuple[float, float]:
    """Return limits of an axis around zero that all but the most extreme of some finite values lie within."""
    sizes = _thinned(values.abs().flatten(), 2**20)  # more are not taken by quantile
    sizes = sizes[sizes.isfinite()]
    reach = 1.2 * float(sizes.quantile(0.995)) if sizes.numel() else 0.0
    return (-reach, reach) if 0 < reach < float("inf") else (-1.0, 1.0)
