"""The learned optimiser beside Adam and gradient descent, on unseen tasks from random weights, at and beyond its horizon.

Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient descent", section 3.1 and Figure 4, whose numbers
are curves only. The rates of Adam and gradient descent are chosen on training tasks, for each number of steps anew.
"""

from contextlib import closing
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray

from metarl.commands.presets import PRESETS
from metarl.commands.run import Run
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Difference, Measured, Numbers, Row, Table
from metarl.rules import Adam, GradientDescent, UpdateRule
from metarl.streams import stream

if TYPE_CHECKING:
    from metarl.adapters import GradientAdapter, Meta
    from metarl.agents import Agent

HORIZONS = (1, 2, 5, 10)
"""After how many times the training's horizon is measured."""
TASKS = 200
"""For every measurement, and for every choice of a rate."""
AT_ONCE = 20
"""Steps that are taken together: those of a longer training would not fit into memory."""
RATES = tuple(10 ** (power / 4) for power in range(-16, 3))
"""From 1e-4 to 3.2, four to a decade."""
HAND_MADE: dict[str, type[UpdateRule]] = {"Adam": Adam, "gradient descent": GradientDescent}
LEARNED = "learned optimiser"
PROBLEMS: dict[str, Settings] = {
    "quadratics": PRESETS["learned-optimiser-quadratics"][1],
    "networks on sine waves": PRESETS["learned-optimiser-sine"][1],
}
Curve = NDArray[np.float64]
"""Losses, shape (tasks, horizons)."""


def rows(problem: str, settings: Settings) -> list[Row | Difference]:
    """Return a problem's rows: each optimiser's losses, and those of the hand-made ones minus the learned one's."""
    table: list[Row | Difference] = []
    for optimiser in (LEARNED, *HAND_MADE):
        name = f"{problem}: {optimiser}"
        table.append(Row(name, settings, tuple(Cell(cell, exam=None) for cell in cells(name, settings))))
    names = [cells(f"{problem}: {optimiser}", settings) for optimiser in (*HAND_MADE, LEARNED)]
    for optimiser, theirs in zip(HAND_MADE, names, strict=False):
        ours = zip(theirs, names[-1], strict=True)
        table += [Difference(cell.replace(optimiser, f"{optimiser} minus {LEARNED}"), cell, other) for cell, other in ours]
    return table


def cells(name: str, settings: Settings) -> list[str]:
    """Return the names of a row's cells."""
    return [f"{name}, after {times * settings['inner_steps']} steps" for times in HORIZONS]


def reading(row: Row, run: Run, scale: float) -> Numbers:
    """Return the losses of a row's optimiser on unseen tasks; hand-made ones with the rate that is best on training tasks."""
    optimiser = row.name.rpartition(": ")[2]
    with closing(run.make()) as agent:
        adapter = cast("GradientAdapter", agent.adapter)
        if optimiser == LEARNED:
            agent.learn(run.iterations, log_interval=run.iterations + 1)
            losses = curve(agent, adapter, agent.meta, "test")
        else:
            losses = tuned(agent, adapter, HAND_MADE[optimiser])
    names = [cell.name for cell in row.cells]
    with np.errstate(invalid="ignore"):  # where a training diverged the mean is infinite and has no interval
        halves = 1.96 * losses.std(0, ddof=1) / len(losses) ** 0.5
    return {
        name: Measured(float(column.mean()), float(half), tuple(column.tolist()))
        for name, column, half in zip(names, losses.T, halves, strict=True)
    }


def tuned(agent: "Agent", adapter: "GradientAdapter", kind: type[UpdateRule]) -> Curve:
    """Return the losses of a rule on test tasks, after each number of steps with the rate that is best there in training."""
    meta, layout = {"theta": agent.meta["theta"]}, adapter.learner.layout
    candidates = [adapter.with_rule(kind(layout, rate).to(meta["theta"])) for rate in RATES]  # type: ignore[call-arg]
    best = np.argmin([curve(agent, candidate, meta, "train").mean(0) for candidate in candidates], axis=0)
    return np.stack([curve(agent, candidates[index], meta, "test")[:, i] for i, index in enumerate(best)], axis=1)


def curve(agent: "Agent", adapter: "GradientAdapter", meta: "Meta", split: str) -> Curve:
    """Return the losses of an adapter's rule on a split, infinite where it diverged; the same tasks and starts for all."""
    from metarl.adapters.gradient import Position

    tasks = agent.source.sample(TASKS, split, stream(0, f"{split} tasks of the table", agent.device))
    noise, position, columns = stream(0, f"{split} starts of the table", agent.device), None, []
    with torch.no_grad():
        for step in range(AT_ONCE, HORIZONS[-1] * adapter.steps + 1, AT_ONCE):
            walked = adapter.adapt(meta, tasks, noise, AT_ONCE, position)
            position = Position(walked.adapted[-1][0], walked.states[-1], step)
            if step in [times * adapter.steps for times in HORIZONS]:
                columns.append(adapter.losses(meta, walked.adapted[-1], tasks.query))
    return torch.stack(columns, 1).nan_to_num(torch.inf, torch.inf).double().cpu().numpy()


TABLE = Table(
    "Learned optimiser: the loss after trainings from random weights, on unseen tasks",
    [row for problem, settings in PROBLEMS.items() for row in rows(problem, settings)],
    reading=reading,
)
