"""Alpha MAML on sine waves: iterations to a loss by initial rates and hyper-rates, as in Behl et al. 2019, Figures 2 and 3."""

from collections import deque
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from metarl.agents import AlphaMAML
from metarl.commands.tables.cell import Cell, Measured
from metarl.errors import NonFiniteError
from metarl.outer import HypergradientDescent

TITLE = "Alpha MAML on sine waves: iterations until the query loss (mean of 10 iterations) is below 3; 500: not reached"
INTERVAL = "seeds"
DEFAULT_SEEDS = 5
STARTS = ((1e-1, 1e-3), (1e-2, 1e-4), (1e-3, 1e-5), (1e-4, 1e-6), (1e-5, 1e-7))
"""Initial alpha and beta; the paper names the last three, and calls them untuned."""
ALPHA_HYPERS = (1e-4, 1e-5, 1e-6)
BETA_HYPERS = (1e-6, 1e-7, 1e-8)
PAIRS = ((0.0, 0.0), *((a, b) for a in ALPHA_HYPERS for b in BETA_HYPERS))
"""MAML, and all pairs of hyper-rates."""
CHOSEN = (1e-5, 1e-6)
"""The hyper-rates that Alpha MAML is compared with MAML at, the same for every start: the best of the grid."""
THRESHOLD = 3.0
CAP = 500
WINDOW = 10


def cells() -> list[Cell]:
    """Return the table's cells: MAML and every pair of hyper-rates at every start, and MAML minus Alpha MAML."""
    found = []
    for start in STARTS:
        found += [Cell(_name(start, pair), _name(start, pair)) for pair in PAIRS]
        pair = (_name(start, (0.0, 0.0)), _name(start, CHOSEN))
        found.append(Cell("", f"alpha {start[0]:g}, beta {start[1]:g}: MAML minus Alpha MAML", not_below=0.0, difference=pair))
    return found


def _name(start: tuple[float, float], hypers: tuple[float, float]) -> str:
    kind = f"Alpha MAML, hyper-rates {hypers[0]:g}, {hypers[1]:g}" if any(hypers) else "MAML"
    return f"alpha {start[0]:g}, beta {start[1]:g}: {kind}"


def _cap(scale: float) -> int:
    return max(WINDOW, round(CAP * scale))


def measure(run_name: str, seed: int, scale: float) -> dict[str, Measured]:
    """Train until the loss is reached, and return the iterations; the cap if it is not, or if the run is not finite."""
    start, hypers = next((s, p) for s in STARTS for p in PAIRS if _name(s, p) == run_name)
    agent = AlphaMAML(
        "MLP",
        "metarl/Sine-v0",
        env_kwargs={"shots": 10, "queries": 10},
        policy_kwargs={"init": "torch"},
        meta_batch=25,
        rate=start[0],
        outer=HypergradientDescent(start[1], alpha_hyper=hypers[0], beta_hyper=hypers[1]),
        seed=seed,
    )
    cap = _cap(scale)
    losses: deque[float] = deque(maxlen=WINDOW)

    def goes_on(local: dict[str, Any], _: Any) -> bool:
        losses.append(float(local["outcome"].loss))
        return len(losses) < WINDOW or fmean(losses) >= THRESHOLD

    try:
        agent.learn(cap, callback=goes_on, log_interval=cap + 1)
    except NonFiniteError:
        return {run_name: Measured(float(cap))}
    reached = len(losses) == WINDOW and fmean(losses) < THRESHOLD
    return {run_name: Measured(float(agent.iteration if reached else cap))}


def picture(rows: list[dict[str, Any]], scale: float) -> Figure:
    """Draw a grid of iterations for every start; the cap is left blank, as in the paper."""
    cap = _cap(scale)
    found = {row["cell"].split(" (scale")[0]: row["ours"] for row in rows}
    starts = [start for start in STARTS if any(_name(start, pair) in found for pair in PAIRS)] or [STARTS[0]]
    figure = Figure(figsize=(1.5 + 3.1 * len(starts), 4), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(starts), sharey=True))
    for ax, start in zip(axes, starts, strict=True):
        grid = np.array([[found.get(_name(start, (a, b)), np.nan) for b in BETA_HYPERS] for a in ALPHA_HYPERS])
        image = ax.imshow(np.where(grid >= cap, np.nan, grid), vmin=0, vmax=cap, cmap="viridis_r")
        for (row, column), value in np.ndenumerate(grid):
            if value < cap:
                ax.text(column, row, f"{value:.0f}", ha="center", va="center", color="white" if value > cap / 2 else "black")
        maml = found.get(_name(start, (0.0, 0.0)), np.nan)
        said = "not run" if np.isnan(maml) else "not reached" if maml >= cap else f"{maml:.0f}"
        ax.set_title(f"alpha {start[0]:g}, beta {start[1]:g}\nMAML: {said}")
        ax.set_xticks(range(len(BETA_HYPERS)), [f"{b:g}" for b in BETA_HYPERS])
        ax.set_yticks(range(len(ALPHA_HYPERS)), [f"{a:g}" for a in ALPHA_HYPERS])
        ax.set_xlabel("hyper-rate of beta")
    axes[0].set_ylabel("hyper-rate of alpha")
    figure.colorbar(image, ax=list(axes), label=f"iterations to a loss of {THRESHOLD:g}")
    figure.suptitle("Alpha MAML on sine waves: iterations, mean over seeds (blank: not reached or not run)")
    return figure
