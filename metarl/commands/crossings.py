"""Tables of iterations to a training loss, as Alpha MAML's figures count them: their rows, how a run is read, their picture."""

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from metarl.commands.run import Run
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Difference, Measured, Numbers, Row, Table, by_cell
from metarl.errors import NonFiniteError

STARTS = ((1e-1, 1e-3), (1e-2, 1e-4), (1e-3, 1e-5), (1e-4, 1e-6), (1e-5, 1e-7))
"""Initial alpha and beta; the paper names the last three, and calls them untuned."""
CAP = 500
"""Iterations after which a loss counts as not reached."""
WINDOW = 10
"""Iterations that a mean loss is over."""
MAML = (0.0, 0.0)
"""The hyper-rates with which Alpha MAML is MAML."""
Pair = tuple[float, float]


def run_name(start: Pair, hypers: Pair) -> str:
    """Return a run's name."""
    kind = "MAML" if hypers == MAML else f"Alpha MAML, hyper-rates {hypers[0]:g}, {hypers[1]:g}"
    return f"alpha {start[0]:g}, beta {start[1]:g}: {kind}"


@dataclass(frozen=True)
class Grid:
    """MAML and Alpha MAML with every pair of hyper-rates, from every start.

    Attributes:
        settings: what the runs have in common.
        alphas: hyper-rates of alpha.
        betas: hyper-rates of beta.
        chosen: the pair that Alpha MAML is compared with MAML at, the same for every start.
        cells: by what their names have after the run's: the loss to fall below, and over how many iterations its mean is.
        compared: which of them are compared and drawn, with what the picture calls them.
        paper: published numbers, by cells' names.
    """

    settings: Settings
    alphas: Sequence[float]
    betas: Sequence[float]
    chosen: Pair
    cells: Mapping[str, tuple[float, int]]
    compared: Mapping[str, str]
    paper: Mapping[str, float] = field(default_factory=dict)

    def table(self, title: str, over_all: str, needs_root: bool = False) -> Table:
        """Return the table.

        Args:
            title: the table's.
            over_all: the picture's.
            needs_root: whether the environment reads data.
        """
        return Table(
            title,
            [row for start in STARTS for row in self.rows(start)],
            interval="seeds",
            seeds=5,
            needs_root=needs_root,
            reading=self.reading,
            picture=partial(picture, title=over_all, hypers=(self.alphas, self.betas), losses=self.compared),
        )

    def rows(self, start: Pair) -> list[Row | Difference]:
        """Return a start's rows: MAML, every pair of hyper-rates, and MAML minus Alpha MAML."""
        maml, alpha_maml = run_name(start, MAML), run_name(start, self.chosen)
        rows: list[Row | Difference] = []
        for pair in (MAML, *product(self.alphas, self.betas)):
            names = [run_name(start, pair) + ending for ending in self.cells]
            cells = tuple(Cell(name, self.paper.get(name), exam=None) for name in names)
            rows.append(Row(run_name(start, pair), settings(start, pair, **self.settings), cells))
        named = f"alpha {start[0]:g}, beta {start[1]:g}: MAML minus Alpha MAML"
        return [*rows, *(Difference(named + ending, maml + ending, alpha_maml + ending) for ending in self.compared)]

    def reading(self, row: Row, run: Run, scale: float) -> Numbers:
        """Return the iterations until each cell's loss is reached."""
        return count(run, scale, {row.name + ending: wanted for ending, wanted in self.cells.items()})


def settings(start: Pair, hypers: Pair, **others: Any) -> Settings:
    """Return a run's settings."""
    return {
        "agent": "alpha-maml",
        "rate": start[0],
        "inner_steps": 1,
        "alpha.learning_rate": start[1],
        "alpha.alpha_hyper": hypers[0],
        "alpha.beta_hyper": hypers[1],
        "iterations": CAP,
        "validate_every": 0,
        **others,
    }


def cap_of(scale: float) -> int:
    """Return the cap at a scale."""
    return max(WINDOW, round(CAP * scale))


def count(run: Run, scale: float, cells: Mapping[str, tuple[float, int]]) -> Numbers:
    """Train until every loss is reached, and return the iterations; the cap if one is not, or if the run is not finite.

    Args:
        run: what to train.
        scale: the fraction of the cap.
        cells: by cell, the loss, and over how many iterations its mean has to be below it.
    """
    cap = cap_of(scale)
    reached = dict.fromkeys(cells, cap)
    losses: deque[float] = deque(maxlen=max(window for _, window in cells.values()))

    def goes_on(local: dict[str, Any], _: Any) -> bool:
        losses.append(float(local["outcome"].loss))
        for name, (loss, window) in cells.items():
            latest = list(losses)[-window:]
            if reached[name] == cap and len(latest) == window and fmean(latest) < loss:
                reached[name] = agent.iteration
        return any(iterations == cap for iterations in reached.values())

    with closing(run.make()) as agent, suppress(NonFiniteError):  # what was not reached until then is not reached
        agent.learn(cap, callback=goes_on, log_interval=cap + 1)
    return {name: Measured(float(iterations)) for name, iterations in reached.items()}


def picture(
    rows: list[dict[str, Any]],
    scale: float,
    title: str,
    hypers: tuple[Sequence[float], Sequence[float]],
    losses: Mapping[str, str],
) -> Figure:
    """Draw a grid of iterations for every start and loss; the cap is left blank, as in the paper.

    Args:
        rows: of the report.
        scale: of the report.
        title: over all.
        hypers: the grid's hyper-rates of alpha, downwards, and of beta, to the right.
        losses: what the losses are called, by what their cells' names have after the run's.
    """
    cap = cap_of(scale)
    iterations = {name: row["ours"] for name, row in by_cell(rows).items()}
    alphas, betas = hypers
    pairs = [MAML, *((a, b) for a in alphas for b in betas)]
    first = next(iter(losses))
    starts = [start for start in STARTS if any(run_name(start, pair) + first in iterations for pair in pairs)] or [STARTS[0]]
    drawing = Figure(figsize=(1.5 + 3.1 * len(starts), 0.5 + 3.3 * len(losses)), layout="constrained")
    axes = drawing.subplots(len(losses), len(starts), sharex=True, sharey=True, squeeze=False)
    for line_of_axes, (ending, loss) in zip(axes, losses.items(), strict=True):
        for ax, start in zip(line_of_axes, starts, strict=True):
            names = [[run_name(start, (a, b)) + ending for b in betas] for a in alphas]
            grid = np.array([[iterations.get(name, np.nan) for name in line] for line in names], dtype=float)
            image = ax.imshow(np.where(grid >= cap, np.nan, grid), vmin=0, vmax=cap, cmap="viridis_r")
            for (line, column), value in np.ndenumerate(grid):
                if value < cap:
                    colour = "white" if value > cap / 2 else "black"
                    ax.text(column, line, f"{value:.0f}", ha="center", va="center", color=colour)
            maml = iterations.get(run_name(start, MAML) + ending, np.nan)
            said = "not run" if np.isnan(maml) else "not reached" if maml >= cap else f"{maml:.0f}"
            ax.set_title(f"alpha {start[0]:g}, beta {start[1]:g}\nMAML: {said}", fontsize="medium")
            ax.set_xticks(range(len(betas)), [f"{b:g}" for b in betas])
            ax.set_yticks(range(len(alphas)), [f"{a:g}" for a in alphas])
        line_of_axes[0].set_ylabel(f"{loss}: hyper-rate of alpha")
    for ax in axes[-1]:
        ax.set_xlabel("hyper-rate of beta")
    drawing.colorbar(image, ax=list(axes.flat), label="iterations")
    drawing.suptitle(f"{title}: iterations, mean over seeds (blank: not reached or not run)")
    return drawing
