"""TURTLE, Figure 2: 5-shot sine regression after 1, 5 and 10 steps (Huisman et al. 2022, section 5.2)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from metarl.agents.side_by_side import learn_side_by_side
from metarl.commands.presets import PRESETS, AgentName, Run
from metarl.commands.tables.cell import Cell, Measured

TITLE = "TURTLE, Figure 2: 5-shot sine regression, best validation and test mean squared error after T inner steps"
INTERVAL = "seeds"
DEFAULT_SEEDS, DEFAULT_SCALE = 10, 0.05
TASKS = 70_000
VALIDATE_EVERY = 2_500
VALIDATION_TASKS, TEST_TASKS = 1_000, 2_000
STEPS = (1, 5, 10)
METHODS = ("MAML, first order", "MAML, second order", "LSTM", "LSTM2", "TURTLE, first order", "TURTLE, second order")
SEEDS_AT_ONCE = 5
"""On a CPU, where five seeds' activations still fit into its cache; a GPU takes all at once."""
BETTER = "TURTLE, second order"
CLAIMED = {5: ("MAML, first order", "MAML, second order", "LSTM", "TURTLE, first order")}
"""What the paper says TURTLE is better than, by the number of steps."""


def cells() -> list[Cell]:
    """Return the table's cells: every method's validation and test error, and how much TURTLE is better by."""
    found = []
    for steps in STEPS:
        for method in METHODS:
            run = f"T={steps}, {method}"
            found += [Cell(run, f"{run}: {part}") for part in ("validation", "test")]
    for steps, others in CLAIMED.items():
        for other in others:
            pair = (f"T={steps}, {other}: test", f"T={steps}, {BETTER}: test")
            found.append(Cell("", f"T={steps}: {other} minus {BETTER}", not_below=0.0, difference=pair))
    return found


def run_of(method: str, steps: int) -> Run:
    """Return the settings of a method for a number of inner steps: the paper's, the authors' code's where it is silent."""
    turtle = replace(PRESETS[f"turtle-sine-{steps}"][1], first_order=method.endswith("first order"))
    if method.startswith("LSTM"):
        agent: AgentName = "meta-lstm-2" if method == "LSTM2" else "meta-lstm"
        return replace(PRESETS["lstm-sine"][1], agent=agent, inner_steps=steps)
    if method.startswith("MAML"):
        return replace(turtle, agent="maml", agent_kwargs={}, rate=(0.01,), meta_batch=1)
    return turtle


def picture(rows: list[dict[str, Any]], scale: float) -> Figure:
    """Draw every method's test error against the inner steps, with intervals over seeds."""
    found = {row["cell"].split(" (scale")[0]: (row["ours"], row["ours_ci"] or 0.0) for row in rows if row["ours"] is not None}
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    ax = figure.subplots()
    steps = [t for t in STEPS if any(f"T={t}, {method}: test" in found for method in METHODS)]
    for shift, method in enumerate(METHODS):
        points = [(i, *found[name]) for i, t in enumerate(steps) if (name := f"T={t}, {method}: test") in found]
        if points:
            where, errors, half = (np.array(values) for values in zip(*points, strict=True))
            ax.errorbar(where + 0.06 * (shift - 2.5), errors, half, fmt="o", capsize=3, label=method)
    ax.set_xticks(range(len(steps)), [f"T={t}" for t in steps])
    ax.set(ylabel="test mean squared error", xlim=(-0.5, max(len(steps), 1) - 0.5))
    if max((error for error, _ in found.values()), default=0.0) > 10:
        ax.set_yscale("log")
    ax.grid(alpha=0.3, axis="y")
    ax.legend(fontsize="small")
    figure.suptitle("5-shot sine waves after T inner steps" + (f" (scale {scale:g})" if scale != 1 else ""))
    return figure


def measure_together(run_name: str, seeds: Sequence[int], scale: float) -> list[dict[str, Measured]]:
    """Train one method with all the seeds side by side; return each one's best validation error, and its test error."""
    steps, method = run_name.removeprefix("T=").split(", ", 1)
    return [
        {f"{run_name}: {part}": figure for part, figure in figures.items()}
        for figures in train(run_of(method, int(steps)), seeds, scale)
    ]


def train(run: Run, seeds: Sequence[int], scale: float, test: bool = True) -> list[dict[str, Measured]]:
    """Train a run on a fraction of the tasks, and return each seed's best validation error and, if wanted, its test error."""
    agents: list[Any] = [replace(run, seed=seed).make() for seed in seeds]
    iterations = max(1, round(TASKS * scale / run.meta_batch))
    every = min(VALIDATE_EVERY // run.meta_batch, iterations)
    taken = learn_side_by_side(agents, iterations, validate_every=every, validation_tasks=VALIDATION_TASKS)
    found = []
    for agent, own in zip(agents, taken, strict=True):
        stopped = own < iterations
        best = float("inf") if agent.best is None else -agent.best["score"]
        found.append({"validation": Measured(best, stopped=stopped)})
        if test:
            figures = agent.restore_best().evaluate(TEST_TASKS)
            found[-1]["test"] = Measured(float(figures.mean[-1]), float(figures.ci95[-1]), stopped=stopped)
    return found
