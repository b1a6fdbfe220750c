"""Alpha MAML, Figures 2 and 3: iterations to a training loss on Omniglot, by initial rates and hyper-rates.

Behl, Baydin and Torr 2019, section 4. The paper states neither ways, shots nor what its grid was; 2.99 lies just below ln 20.
"""

from collections import deque
from contextlib import suppress
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from metarl.agents import AlphaMAML
from metarl.commands.tables.cell import Cell, Measured
from metarl.errors import NonFiniteError
from metarl.outer import HypergradientDescent

TITLE = "Alpha MAML, Figures 2 and 3: iterations until the query loss on 20-way 1-shot Omniglot is below 2.99 and 2.5"
INTERVAL = "seeds"
DEFAULT_SEEDS = 5
DATA = {"metarl/Omniglot-v0": ""}
STARTS = ((1e-1, 1e-3), (1e-2, 1e-4), (1e-3, 1e-5), (1e-4, 1e-6), (1e-5, 1e-7))
"""Initial alpha and beta; the paper names the last three, and calls them untuned."""
ALPHA_HYPERS = (1e-2, 1e-3, 1e-4)
BETA_HYPERS = (1e-4, 1e-5, 1e-6)
PAIRS = ((0.0, 0.0), *((a, b) for a in ALPHA_HYPERS for b in BETA_HYPERS))
"""MAML, and all pairs of hyper-rates."""
CHOSEN = (1e-2, 1e-4)
"""The hyper-rates that Alpha MAML is compared with MAML at, the same for every start."""
THRESHOLDS = (2.99, 2.5)
CAP = 500
WINDOW = 10
PAPER = {("alpha 0.0001, beta 1e-06: MAML", 2.99): 165.0}


def cells() -> list[Cell]:
    """Return the table's cells: the first crossing of each loss, and of its mean over ten iterations; MAML minus Alpha MAML."""
    found = []
    for start in STARTS:
        for pair in PAIRS:
            run = _name(start, pair)
            for loss in THRESHOLDS:
                found += [Cell(run, f"{run}: {loss}", PAPER.get((run, loss))), Cell(run, f"{run}: {loss} (mean of {WINDOW})")]
        for loss in THRESHOLDS:
            pairs = (f"{_name(start, (0.0, 0.0))}: {loss}", f"{_name(start, CHOSEN)}: {loss}")
            name = f"alpha {start[0]:g}, beta {start[1]:g}: MAML minus Alpha MAML: {loss}"
            found.append(Cell("", name, not_below=0.0, difference=pairs))
    return found


def _name(start: tuple[float, float], hypers: tuple[float, float]) -> str:
    kind = f"Alpha MAML, hyper-rates {hypers[0]:g}, {hypers[1]:g}" if any(hypers) else "MAML"
    return f"alpha {start[0]:g}, beta {start[1]:g}: {kind}"


def measure(run_name: str, seed: int, scale: float, root: str) -> dict[str, Measured]:
    """Train until every loss is reached, and return the iterations; the cap if one is not, or the run is not finite."""
    start, hypers = next((s, p) for s in STARTS for p in PAIRS if _name(s, p) == run_name)
    agent = AlphaMAML(
        "Conv4",
        "metarl/Omniglot-v0",
        env_kwargs={"root": root, "ways": 20, "shots": 1, "queries": 1},
        policy_kwargs={"downsampling": "stride"},
        meta_batch=16,
        rate=start[0],
        outer=HypergradientDescent(start[1], alpha_hyper=hypers[0], beta_hyper=hypers[1]),
        seed=seed,
    )
    cap = max(WINDOW, round(CAP * scale))
    reached = {f"{run_name}: {loss}{kind}": float(cap) for loss in THRESHOLDS for kind in ("", f" (mean of {WINDOW})")}
    losses: deque[float] = deque(maxlen=WINDOW)

    def goes_on(local: dict[str, Any], _: Any) -> bool:
        losses.append(float(local["outcome"].loss))
        for loss in THRESHOLDS:
            own = {f"{run_name}: {loss}": losses[-1] < loss}
            own[f"{run_name}: {loss} (mean of {WINDOW})"] = len(losses) == WINDOW and fmean(losses) < loss
            for name, below in own.items():
                if below and reached[name] == cap:
                    reached[name] = float(agent.iteration)
        return any(iterations == cap for iterations in reached.values())

    with suppress(NonFiniteError):  # what was not reached until then is not reached
        agent.learn(cap, callback=goes_on, log_interval=cap + 1)
    return {name: Measured(iterations) for name, iterations in reached.items()}


def picture(rows: list[dict[str, Any]], scale: float) -> Figure:
    """Draw a grid of iterations for every start and loss; the cap is left blank, as in the paper."""
    cap = max(WINDOW, round(CAP * scale))
    found = {row["cell"].split(" (scale")[0]: row["ours"] for row in rows}
    starts = [start for start in STARTS if any(f"{_name(start, p)}: {THRESHOLDS[0]}" in found for p in PAIRS)] or [STARTS[0]]
    figure = Figure(figsize=(1.5 + 3.1 * len(starts), 7), layout="constrained")
    axes = figure.subplots(len(THRESHOLDS), len(starts), sharex=True, sharey=True, squeeze=False)
    for row, loss in enumerate(THRESHOLDS):
        for ax, start in zip(axes[row], starts, strict=True):
            names = [[f"{_name(start, (a, b))}: {loss}" for b in BETA_HYPERS] for a in ALPHA_HYPERS]
            grid = np.array([[found.get(name, np.nan) for name in line] for line in names], dtype=float)
            image = ax.imshow(np.where(grid >= cap, np.nan, grid), vmin=0, vmax=cap, cmap="viridis_r")
            for (line, column), value in np.ndenumerate(grid):
                if value < cap:
                    colour = "white" if value > cap / 2 else "black"
                    ax.text(column, line, f"{value:.0f}", ha="center", va="center", color=colour)
            maml = found.get(f"{_name(start, (0.0, 0.0))}: {loss}", np.nan)
            said = "not run" if np.isnan(maml) else "not reached" if maml >= cap else f"{maml:.0f}"
            ax.set_title(f"alpha {start[0]:g}, beta {start[1]:g}\nMAML: {said}", fontsize="medium")
            ax.set_xticks(range(len(BETA_HYPERS)), [f"{b:g}" for b in BETA_HYPERS])
            ax.set_yticks(range(len(ALPHA_HYPERS)), [f"{a:g}" for a in ALPHA_HYPERS])
        axes[row][0].set_ylabel(f"loss {loss}: hyper-rate of alpha")
    for ax in axes[-1]:
        ax.set_xlabel("hyper-rate of beta")
    figure.colorbar(image, ax=list(axes.flat), label="iterations")
    figure.suptitle("Alpha MAML on 20-way Omniglot: iterations, mean over seeds (blank: not reached or not run)")
    return figure
