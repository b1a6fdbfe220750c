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
    """Draw error against hidden layers, one panel for each number of inner steps."""
    found = {row["cell"].split(" (scale")[0]: (row["ours"], row["ours_ci"] or 0.0) for row in rows if row["ours"] is not None}
    shown = [steps for steps in STEPS if any(name.startswith(f"T={steps}, ") for name in found)] or [STEPS[0]]
    figure = Figure(figsize=(1 + 4 * len(shown), 4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(shown)))
    for ax, steps in zip(axes, shown, strict=True):
        for order, color in zip(ORDERS, ("tab:orange", "tab:blue"), strict=True):
            points = [(n, *found[name]) for n in LAYERS if (name := f"T={steps}, TURTLE with {n}, {order}") in found]
            if points:
                layers, errors, half = zip(*points, strict=True)
                ax.errorbar(layers, errors, half, fmt="o-", capsize=3, color=color, label=f"TURTLE, {order}")
            maml = found.get(f"T={steps}, MAML, {order}")
            if maml is not None:
                ax.axhline(maml[0], linestyle="--", color=color, label=f"MAML, {order}")
        ax.set(title=f"T={steps}", xlabel="hidden layers", yscale="log", xticks=LAYERS)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("validation mean squared error")
    axes[0].legend(fontsize="small")
    figure.suptitle(
        "TURTLE on 5-shot sine waves: order, inner steps and hidden layers" + (f" (scale {scale:g})" if scale != 1 else "")
    )
    return figure
