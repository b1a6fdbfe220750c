"""TURTLE, Figure 1: order, inner steps and hidden layers against validation error (Huisman et al. 2022, section 5.2)."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Row, Table, by_cell
from metarl.commands.tables.turtle_sine import SEEDS_AT_ONCE, STEPS
from metarl.commands.tables.turtle_sine import settings as settings_of

LAYERS = (1, 2, 3, 4, 5, 6)
ORDERS = ("first order", "second order")
# made before larger meta-batches were tried: one task at a time
TURTLE: Settings = {
    "inputs": ("gradient",),
    "alpha": "fixed",
    "meta_batch": 1,
    "iterations": 70_000,
    "validate_every": 2500,
}


def settings(method: str, steps: int, order: str) -> Settings:
    """Return the settings of a point: MAML, or TURTLE with a number of hidden layers."""
    kind, _, layers = method.partition(" with ")
    plain = settings_of(f"{kind}, {order}", steps)
    return {**plain, **TURTLE, "hidden": (20,) * int(layers)} if kind == "TURTLE" else plain


def picture(rows: list[dict[str, Any]], scale: float) -> Figure:
    """Draw error against hidden layers, one panel for each number of inner steps: medians, and the lowest and highest seed.

    Medians, because a single seed that explodes on a few tasks hides all others in a mean.
    """
    errors = {name: sorted(v for v in row["ours_by_seed"] if v is not None) for name, row in by_cell(rows).items()}
    errors = {name: values for name, values in errors.items() if values}
    shown = [steps for steps in STEPS if any(name.startswith(f"T={steps}, ") for name in errors)] or [next(iter(STEPS))]
    drawing = Figure(figsize=(3 + 4 * len(shown), 4), layout="constrained")
    axes = np.atleast_1d(drawing.subplots(1, len(shown)))
    for ax, steps in zip(axes, shown, strict=True):
        highest = 0.0
        for order, colour in zip(ORDERS, ("tab:orange", "tab:blue"), strict=True):
            points = [(n, errors[name]) for n in LAYERS if (name := f"T={steps}, TURTLE with {n}, {order}") in errors]
            if points:
                layers = [n for n, _ in points]
                middle = np.array([np.median(values) for _, values in points])
                ends = np.array([[values[0], values[-1]] for _, values in points]).T
                ax.errorbar(layers, middle, np.abs(ends - middle), fmt="o-", capsize=3, color=colour, label=f"TURTLE, {order}")
                highest = max(highest, float(middle.max()))
            maml = errors.get(f"T={steps}, MAML, {order}")
            if maml is not None:
                ax.axhline(float(np.median(maml)), linestyle="--", color=colour, label=f"MAML, {order}")
                highest = max(highest, float(np.median(maml)))
        ax.set(title=f"T={steps}", xlabel="hidden layers", xticks=LAYERS, ylim=(0, 1.2 * highest or 1.0))
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("validation mean squared error")
    axes[0].legend(fontsize="small")
    drawing.suptitle("TURTLE on 5-shot sine waves" + (f", scale {scale:g}" if scale != 1 else ""))
    return drawing


TABLE = Table(
    title="TURTLE, Figure 1: best validation error by order, inner steps and hidden layers; gradient alone, rates fixed at one",
    rows=[
        Row(name := f"T={steps}, {method}, {order}", settings(method, steps, order), (Cell(name, exam=None),))
        for steps in STEPS
        for order in ORDERS
        for method in ("MAML", *(f"TURTLE with {layers}" for layers in LAYERS))
    ],
    interval="seeds",
    seeds=5,
    scale=0.02,
    seeds_at_once=SEEDS_AT_ONCE,
    validations=1,
    compiled_from=0.1,
    picture=picture,
)
