"""MAML, sine regression: 5-shot error after 1, 5 and 10 steps (Finn et al. 2017, Table 2 of the appendix)."""

from metarl.commands.presets.sine import MAML_SINE
from metarl.commands.table import Cell, Exam, Row, Table

PAPER = {1: 0.67, 5: 0.38, 10: 0.35}
RATES = (0.01, 0.001)
"""The paper's inner rate, and the one that its published command line leaves in force."""
EXAM = Exam(steps=max(PAPER), env_kwargs={"shots": 5, "queries": 100, "query_inputs": "grid"})

TABLE = Table(
    title="MAML, sine regression: 5-shot mean squared error after 1, 5 and 10 steps, trained with one step of 10 shots",
    rows=[
        Row(
            f"rate {rate}",
            {**MAML_SINE, "rate": rate},
            tuple(
                Cell(f"rate {rate}, after {step} step" + "s" * (step > 1), paper, exam=EXAM, step=step)
                for step, paper in PAPER.items()
            ),
        )
        for rate in RATES
    ],
)
