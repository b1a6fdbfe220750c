"""MAML, sine regression: 5-shot error after 1, 5 and 10 steps (Finn et al. 2017, Table 2 of the appendix)."""

from dataclasses import replace

from metarl.commands.presets import MAML_SINE_RUN
from metarl.commands.tables.cell import Cell, Measured

TITLE = "MAML, sine regression: 5-shot mean squared error after 1, 5 and 10 steps, trained with one step of 10 shots"
PAPER = {1: 0.67, 5: 0.38, 10: 0.35}
RATES = (0.01, 0.001)
"""The paper's inner rate, and the one that its published command line leaves in force."""


def cells() -> list[Cell]:
    """Return the table's cells."""
    return [
        Cell(f"rate {rate}", f"rate {rate}, after {step} step" + "s" * (step > 1), paper)
        for rate in RATES
        for step, paper in PAPER.items()
    ]


def measure(run_name: str, seed: int, scale: float) -> dict[str, Measured]:
    """Train with one of the rates, and test after up to ten steps on 600 tasks."""
    rate = next(rate for rate in RATES if run_name == f"rate {rate}")
    run = replace(MAML_SINE_RUN, rate=(rate,), seed=seed, iterations=max(1, round(MAML_SINE_RUN.iterations * scale)))
    agent = run.make().learn(run.iterations, log_interval=run.iterations)
    evaluation = agent.evaluate(600, steps=max(PAPER), env_kwargs={"shots": 5, "queries": 100, "query_inputs": "grid"})
    return {cell.name: Measured.of(evaluation, step) for cell, step in zip(_of(run_name), PAPER, strict=True)}


def _of(run_name: str) -> list[Cell]:
    return [cell for cell in cells() if cell.run_name == run_name]
