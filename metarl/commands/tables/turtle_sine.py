"""TURTLE, Figure 2: 5-shot sine regression after 1, 5 and 10 steps (Huisman et al. 2022, section 5.2)."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from metarl.commands.presets.sine import LSTM_SINE, TURTLE_SINE, TURTLE_SINE_1, TURTLE_SINE_10
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Difference, Exam, Row, Table, by_cell

STEPS: dict[int, Settings] = {1: TURTLE_SINE_1, 5: TURTLE_SINE, 10: TURTLE_SINE_10}
MAML: Settings = {"agent": "maml", "rate": 0.01, "meta_batch": 1, "iterations": 70_000, "validate_every": 2500}
METHODS = ("MAML, first order", "MAML, second order", "LSTM", "LSTM2", "TURTLE, first order", "TURTLE, second order")
BETTER = "TURTLE, second order"
CLAIMED = {5: ("MAML, first order", "MAML, second order", "LSTM", "TURTLE, first order")}
"""What the paper says TURTLE is better than, by the number of steps."""
EXAM = Exam(tasks=2000)
SEEDS_AT_ONCE = 5
"""On a CPU, where five seeds' activations still fit into its cache; a GPU takes all at once."""


def settings(method: str, steps: int) -> Settings:
    """Return the settings of a method for a number of inner steps: the paper's, the authors' code's where it is silent."""
    first_order = method.endswith("first order")
    if method.startswith("LSTM"):
        return {**LSTM_SINE, "agent": "meta-lstm-2" if method == "LSTM2" else "meta-lstm", "inner_steps": steps}
    if method.startswith("MAML"):
        return {**STEPS[steps], **MAML, "first_order": first_order}
    return {**STEPS[steps], "first_order": first_order}


def picture(rows: list[dict[str, Any]], scale: float) -> Figure:
    """Draw every method's test error against the inner steps, with intervals over seeds."""
    errors = {name: (row["ours"], row["ours_ci"] or 0.0) for name, row in by_cell(rows).items() if row["ours"] is not None}
    drawing = Figure(figsize=(7, 4.5), layout="constrained")
    ax = drawing.subplots()
    steps = [t for t in STEPS if any(f"T={t}, {method}: test" in errors for method in METHODS)]
    for shift, method in enumerate(METHODS):
        points = [(i, *errors[name]) for i, t in enumerate(steps) if (name := f"T={t}, {method}: test") in errors]
        if points:
            where, middle, half = (np.array(values) for values in zip(*points, strict=True))
            ax.errorbar(where + 0.06 * (shift - 2.5), middle, half, fmt="o", capsize=3, label=method)
    ax.set_xticks(range(len(steps)), [f"T={t}" for t in steps])
    ax.set(ylabel="test mean squared error", xlim=(-0.5, max(len(steps), 1) - 0.5))
    if max((error for error, _ in errors.values()), default=0.0) > 10:
        ax.set_yscale("log")
    ax.grid(alpha=0.3, axis="y")
    ax.legend(fontsize="small")
    drawing.suptitle("5-shot sine waves after T inner steps" + (f" (scale {scale:g})" if scale != 1 else ""))
    return drawing


TABLE = Table(
    title="TURTLE, Figure 2: 5-shot sine regression, best validation and test mean squared error after T inner steps",
    rows=[
        *(
            Row(
                name := f"T={steps}, {method}",
                settings(method, steps),
                (Cell(f"{name}: validation", exam=None), Cell(f"{name}: test", exam=EXAM)),
            )
            for steps in STEPS
            for method in METHODS
        ),
        *(
            Difference(f"T={steps}: {other} minus {BETTER}", f"T={steps}, {other}: test", f"T={steps}, {BETTER}: test")
            for steps, others in CLAIMED.items()
            for other in others
        ),
    ],
    interval="seeds",
    seeds=10,
    scale=0.05,
    seeds_at_once=SEEDS_AT_ONCE,
    validations=1,
    picture=picture,
)
