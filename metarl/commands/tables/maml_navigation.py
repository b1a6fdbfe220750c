"""MAML, 2D navigation: returns after 0 to 3 steps (Finn et al. 2017, Table 4 of the appendix)."""

from metarl.commands.presets import PRESETS
from metarl.commands.presets.navigation import NAVIGATION_BEST
from metarl.commands.table import Cell, Exam, Row, Table

PAPER = (-40.41, -11.68, -3.33, -3.23)
SETTINGS = {
    "our estimator, rate 0.05": {**NAVIGATION_BEST, "agent": "maml"},
    "Finn's estimator, rates 0.5 and 0.25": PRESETS["maml-navigation"][1],
}

TABLE = Table(
    title="MAML, 2D navigation: return after 0, 1, 2 and 3 steps",
    rows=[
        Row(
            name,
            settings,
            tuple(
                Cell(f"{name}, after {step} step" + "s" * (step != 1), paper, exam=Exam(steps=3), step=step)
                for step, paper in enumerate(PAPER)
            ),
        )
        for name, settings in SETTINGS.items()
    ],
    higher_is_better=True,
)
