"""Meta-SGD, Table 4: return on 2D navigation after one step, fixed and varying start (Li et al. 2017, section 4.3)."""

from metarl.commands.presets.navigation import NAVIGATION, NAVIGATION_BEST, NAVIGATION_PLAIN, NAVIGATION_UNSCALED, VARYING
from metarl.commands.table import Cell, Difference, Row, Table

PAPER = {
    ("MAML", "fixed start"): (-9.12, 0.66),
    ("Meta-SGD", "fixed start"): (-8.64, 0.68),
    ("MAML", "varying start"): (-10.71, 0.76),
    ("Meta-SGD", "varying start"): (-10.15, 0.62),
}
PAPER_DIFFERENCE = {"fixed start": 0.48, "varying start": 0.56}
READINGS = {
    "Finn's environment": NAVIGATION,
    "no clip, no scale": NAVIGATION_UNSCALED,
    "Finn's estimator": NAVIGATION_PLAIN,
    "best found": NAVIGATION_BEST,
}
"""The environment as Finn's code has it, and as Meta-SGD's text has it, with the estimator that we chose; Finn's environment
with his own estimator; and the best of all that was tried."""
STARTS = {"fixed start": NAVIGATION["env"], "varying start": VARYING}
AGENTS = {"MAML": "maml", "Meta-SGD": "meta-sgd"}


def part(reading: str, start: str) -> list[Row | Difference]:
    """Return one reading's rows: MAML and Meta-SGD trained alike and tested on the same tasks, and the paired difference."""
    run = f"{reading}, {start}"
    rows: list[Row | Difference] = [
        Row(
            f"{run}: {name}",
            {**READINGS[reading], "env": STARTS[start], "agent": agent},
            (Cell(f"{run}: {name}", *PAPER[name, start], step=1),),
        )
        for name, agent in AGENTS.items()
    ]
    difference = Difference(
        f"{run}: Meta-SGD minus MAML", f"{run}: Meta-SGD", f"{run}: MAML", PAPER_DIFFERENCE[start], not_below=0.0
    )
    return [*rows, difference]


TABLE = Table(
    title="Meta-SGD, Table 4: return on 2D navigation after one step, 600 unseen tasks",
    rows=[row for reading in READINGS for start in STARTS for row in part(reading, start)],
    higher_is_better=True,
)
