"""Alpha MAML, Figures 2 and 3: iterations to a training loss on Omniglot, by initial rates and hyper-rates.

Behl, Baydin and Torr 2019, section 4. The paper states neither ways, shots nor what its grid was; 2.99 lies just below ln 20.
"""

from typing import Any

from matplotlib.figure import Figure

from metarl.commands import crossings
from metarl.commands.crossings import MAML, STARTS, WINDOW, Pair, run_name
from metarl.commands.run import Run
from metarl.commands.table import Cell, Difference, Measured, Row, Table

ALPHA_HYPERS = (1e-2, 1e-3, 1e-4)
BETA_HYPERS = (1e-4, 1e-5, 1e-6)
PAIRS = (MAML, *((a, b) for a in ALPHA_HYPERS for b in BETA_HYPERS))
CHOSEN = (1e-2, 1e-4)
"""The hyper-rates that Alpha MAML is compared with MAML at, the same for every start."""
LOSSES = (2.99, 2.5)
ENDINGS = {f": {loss}{kind}": (loss, window) for loss in LOSSES for kind, window in (("", 1), (f" (mean of {WINDOW})", WINDOW))}
"""What a run's cells are called after it, with their loss and the iterations that it is the mean of."""
PAPER = {"alpha 0.0001, beta 1e-06: MAML: 2.99": 165.0}


def part(start: Pair) -> list[Row | Difference]:
    """Return a start's rows: the first crossing of each loss, and of its mean over ten iterations; MAML minus Alpha MAML."""
    rows: list[Row | Difference] = [
        Row(
            name := run_name(start, pair),
            crossings.settings(
                start,
                pair,
                env="metarl/Omniglot-v0",
                env_kwargs={"ways": 20, "shots": 1, "queries": 1},
                policy="Conv4",
                policy_kwargs={"downsampling": "stride"},
                meta_batch=16,
            ),
            tuple(Cell(name + ending, PAPER.get(name + ending), exam=None) for ending in ENDINGS),
        )
        for pair in PAIRS
    ]
    differences = [
        Difference(
            f"alpha {start[0]:g}, beta {start[1]:g}: MAML minus Alpha MAML: {loss}",
            f"{run_name(start, MAML)}: {loss}",
            f"{run_name(start, CHOSEN)}: {loss}",
        )
        for loss in LOSSES
    ]
    return [*rows, *differences]


def reading(row: Row, run: Run, scale: float) -> dict[str, Measured]:
    """Return the iterations until each loss is reached."""
    return crossings.count(run, scale, {row.name + ending: wanted for ending, wanted in ENDINGS.items()})


def picture(rows: list[dict[str, Any]], scale: float) -> Figure:
    """Draw a grid of iterations for every start and loss."""
    losses = {f": {loss}": f"loss {loss}" for loss in LOSSES}
    return crossings.picture(rows, scale, "Alpha MAML on 20-way Omniglot", (ALPHA_HYPERS, BETA_HYPERS), losses)


TABLE = Table(
    title="Alpha MAML, Figures 2 and 3: iterations until the query loss on 20-way 1-shot Omniglot is below 2.99 and 2.5",
    rows=[row for start in STARTS for row in part(start)],
    interval="seeds",
    seeds=5,
    needs_root=True,
    reading=reading,
    picture=picture,
)
