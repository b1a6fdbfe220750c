"""MAML, 2D navigation: returns after 0 to 3 steps (Finn et al. 2017, Table 4 of the appendix)."""

from dataclasses import replace

from metarl.commands.presets import PRESETS
from metarl.commands.tables.cell import Cell, Measured

TITLE = "MAML, 2D navigation: return after 0, 1, 2 and 3 steps"
PAPER = (-40.41, -11.68, -3.33, -3.23)
RUNS = {"our estimator, rate 0.05": "navigation-best", "Finn's estimator, rates 0.5 and 0.25": "maml-navigation"}


def cells() -> list[Cell]:
    """Return the table's cells."""
    return [
        Cell(run, f"{run}, after {step} step" + "s" * (step != 1), paper, None, higher_is_better=True)
        for run in RUNS
        for step, paper in enumerate(PAPER)
    ]


def measure(run_name: str, seed: int, scale: float) -> dict[str, Measured]:
    """Train, keep the best iterate by validation tasks, and test on 600 tasks."""
    preset = PRESETS[RUNS[run_name]][1]
    run = replace(preset, agent="maml", seed=seed, iterations=max(1, round(preset.iterations * scale)))
    agent = run.make().learn(run.iterations, validate_every=run.validate_every, validation_tasks=run.validation_tasks)
    evaluation = agent.restore_best().evaluate(600, steps=3)
    names = [cell.name for cell in cells() if cell.run_name == run_name]
    return {name: Measured.of(evaluation, step) for step, name in enumerate(names)}
