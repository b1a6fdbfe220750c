"""All rules on 2D navigation by the protocol of Meta-SGD's Table 4: return after one step, on the same unseen tasks."""

from metarl.commands.presets.navigation import NAVIGATION_BEST, VARYING
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Difference, Row, Table

LEARNED: Settings = {"trpo.cg_iterations": 6}
"""The learned rules' Fisher products are several times as dear as gradient descent's: fewer of them, 10 for the others."""
RULES: dict[str, Settings] = {
    "MAML": {"agent": "maml"},
    "Meta-SGD": {"agent": "meta-sgd"},
    "Alpha MAML": {"agent": "alpha-maml"},
    "LSTM": {"agent": "meta-lstm", **LEARNED},
    "LSTM2": {"agent": "meta-lstm-2", **LEARNED},
    "TURTLE": {"agent": "turtle", "hidden": (20,), **LEARNED},
}
"""What each rule changes of the preset. The learned rules start as its gradient descent."""
PAPER: dict[tuple[str, str], tuple[float, float]] = {
    ("fixed start", "MAML"): (-9.12, 0.66),
    ("fixed start", "Meta-SGD"): (-8.64, 0.68),
    ("varying start", "MAML"): (-10.71, 0.76),
    ("varying start", "Meta-SGD"): (-10.15, 0.62),
}
STANDARD = "Meta-SGD"
STARTS = {"fixed start": NAVIGATION_BEST["env"], "varying start": VARYING}


def cell(name: str, paper: float | None, paper_ci: float | None) -> Cell:
    """Return the cell of a row: the return after one step."""
    return Cell(name, paper, paper_ci, step=1)


def part(start: str) -> list[Row | Difference]:
    """Return every rule's row, and how much the learned rules are above Meta-SGD."""
    rows: list[Row | Difference] = [
        Row(
            name := f"{start}, {rule}",
            {**NAVIGATION_BEST, "env": STARTS[start], **settings},
            (cell(name, *PAPER.get((start, rule), (None, None))),),
        )
        for rule, settings in RULES.items()
    ]
    differences = [
        Difference(f"{start}, {rule} minus {STANDARD}", f"{start}, {rule}", f"{start}, {STANDARD}")
        for rule in ("LSTM", "LSTM2", "TURTLE")
    ]
    return [*rows, *differences]


TABLE = Table(
    title="All rules on 2D navigation: return after one step, 600 unseen tasks (Meta-SGD's Table 4 has the first two)",
    rows=[row for start in STARTS for row in part(start)],
    higher_is_better=True,
)
