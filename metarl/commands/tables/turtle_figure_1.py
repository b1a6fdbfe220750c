"""TURTLE, Figure 1: order, inner steps and hidden layers against validation error (Huisman et al. 2022, section 5.2)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from metarl.commands.tables.cell import Cell, Measured
from metarl.commands.tables.turtle_sine import SEEDS_AT_ONCE as SEEDS_AT_ONCE
from metarl.commands.tables.turtle_sine import STEPS, run_of, train

TITLE = "TURTLE, Figure 1: best validation error by order, inner steps and hidden layers; gradient alone, rates fixed at one"
INTERVAL = "seeds"
DEFAULT_SEEDS, DEFAULT_SCALE = 5, 0.02
LAYERS = (1, 2, 3, 4, 5, 6)
ORDERS = ("first order", "second order")
COMPILED_FROM = 0.1
"""Below this fraction compiling would take longer than it saves."""


def cells() -> list[Cell]:
    """Return the figure's points: TURTLE with 1 to 6 hidden layers, and MAML."""
    names = [
        f"T={steps}, {method}, {order}"
        for steps in STEPS
        for order in ORDERS
        for method in ("MAML", *(f"TURTLE with {layers}" for layers in LAYERS))
    ]
    return [Cell(name, name) for name in names]


def measure_together(run_name: str, seeds: Sequence[int], scale: float) -> list[dict[str, Measured]]:
    """Train one point with all the seeds side by side, and return each one's best validation error."""
    steps, method, order = run_name.removeprefix("T=").split(", ")
    kind, _, layers = method.partition(" with ")
    run = run_of(f"{kind}, {order}", int(steps))
    if kind == "TURTLE":
        kwargs = {"hidden": [20] * int(layers), "inputs": ["gradient"], "alpha": "fixed"}
        # the figure was made before larger meta-batches were tried
        run = replace(run, agent_kwargs=kwargs, meta_batch=1)
    run = replace(run, gradient=replace(run.gradient, compile=scale >= COMPILED_FROM))
    return [{run_name: found["validation"]} for found in train(run, seeds, scale, test=False)]


def picture(rows: list[dict[str, Any]], scale: float) -> Figure:
    """Draw error against hidden layers, one panel for each number of inner steps: medians, and the lowest and highest seed.

    Medians, because a single seed that explodes on a few tasks hides all others in a mean.
    """
    found = {row["cell"].split(" (scale")[0]: sorted(v for v in row["ours_by_seed"] if v is not None) for row in rows}
    found = {name: values for name, values in found.items() if values}
    shown = [steps for steps in STEPS if any(name.startswith(f"T={steps}, ") for name in found)] or [STEPS[0]]
    figure = Figure(figsize=(3 + 4 * len(shown), 4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(shown)))
    for ax, steps in zip(axes, shown, strict=True):
        highest = 0.0
        for order, color in zip(ORDERS, ("tab:orange", "tab:blue"), strict=True):
            points = [(n, found[name]) for n in LAYERS if (name := f"T={steps}, TURTLE with {n}, {order}") in found]
            if points:
                layers = [n for n, _ in points]
                middle = np.array([np.median(values) for _, values in points])
                ends = np.array([[values[0], values[-1]] for _, values in points]).T
                ax.errorbar(layers, middle, np.abs(ends - middle), fmt="o-", capsize=3, color=color, label=f"TURTLE, {order}")
                highest = max(highest, float(middle.max()))
            maml = found.get(f"T={steps}, MAML, {order}")
            if maml is not None:
                ax.axhline(float(np.median(maml)), linestyle="--", color=color, label=f"MAML, {order}")
                highest = max(highest, float(np.median(maml)))
        ax.set(title=f"T={steps}", xlabel="hidden layers", xticks=LAYERS, ylim=(0, 1.2 * highest or 1.0))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("validation mean squared error")
    axes[0].legend(fontsize="small")
    figure.suptitle("TURTLE on 5-shot sine waves" + (f", scale {scale:g}" if scale != 1 else ""))
    return figure
