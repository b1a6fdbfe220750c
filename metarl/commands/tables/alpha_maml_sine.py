"""Alpha MAML on sine waves: iterations to a loss by initial rates and hyper-rates, as in Behl et al. 2019, Figures 2 and 3."""

from typing import Any

from matplotlib.figure import Figure

from metarl.commands import crossings
from metarl.commands.crossings import MAML, STARTS, WINDOW, Pair, run_name
from metarl.commands.run import Run
from metarl.commands.table import Cell, Difference, Measured, Row, Table

ALPHA_HYPERS = (1e-4, 1e-5, 1e-6)
BETA_HYPERS = (1e-6, 1e-7, 1e-8)
PAIRS = (MAML, *((a, b) for a in ALPHA_HYPERS for b in BETA_HYPERS))
CHOSEN = (1e-5, 1e-6)
"""The hyper-rates that Alpha MAML is compared with MAML at, the same for every start: the best of the grid."""
LOSS = 3.0


def part(start: Pair) -> list[Row | Difference]:
    """Return a start's rows: MAML, every pair of hyper-rates, and MAML minus Alpha MAML."""
    rows: list[Row | Difference] = [
        Row(
            name := run_name(start, pair),
            crossings.settings(
                start,
                pair,
                env="metarl/Sine-v0",
                env_kwargs={"shots": 10, "queries": 10},
                policy="MLP",
                policy_kwargs={"init": "torch"},
                meta_batch=25,
            ),
            (Cell(name, exam=None),),
        )
        for pair in PAIRS
    ]
    name = f"alpha {start[0]:g}, beta {start[1]:g}: MAML minus Alpha MAML"
    return [*rows, Difference(name, run_name(start, MAML), run_name(start, CHOSEN))]


def reading(row: Row, run: Run, scale: float) -> dict[str, Measured]:
    """Return the iterations until the mean loss is below the threshold."""
    return crossings.count(run, scale, {cell.name: (LOSS, WINDOW) for cell in row.cells})


def picture(rows: list[dict[str, Any]], scale: float) -> Figure:
    """Draw a grid of iterations for every start."""
    return crossings.picture(rows, scale, "Alpha MAML on sine waves", (ALPHA_HYPERS, BETA_HYPERS), {"": f"loss {LOSS:g}"})


TABLE = Table(
    title="Alpha MAML on sine waves: iterations until the query loss (mean of 10 iterations) is below 3; 500: not reached",
    rows=[row for start in STARTS for row in part(start)],
    interval="seeds",
    seeds=5,
    reading=reading,
    picture=picture,
)
