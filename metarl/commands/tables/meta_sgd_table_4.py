"""Meta-SGD, Table 4: return on 2D navigation after one step, fixed and varying start (Li et al. 2017, section 4.3)."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metarl.commands.presets import PRESETS, VARYING, Run
from metarl.commands.tables.cell import Cell, Measured

TITLE = "Meta-SGD, Table 4: return on 2D navigation after one step, 600 unseen tasks"
PAPER = {
    ("MAML", "fixed start"): (-9.12, 0.66),
    ("Meta-SGD", "fixed start"): (-8.64, 0.68),
    ("MAML", "varying start"): (-10.71, 0.76),
    ("Meta-SGD", "varying start"): (-10.15, 0.62),
}
PAPER_DIFFERENCE = {"fixed start": 0.48, "varying start": 0.56}
READINGS = {
    "Finn's environment": "navigation",
    "no clip, no scale": "navigation-unscaled",
    "Finn's estimator": "navigation-plain",
    "best found": "navigation-best",
}
"""The environment as Finn's code has it, and as Meta-SGD's text has it, with the estimator that we chose; Finn's environment
with his own estimator; and the best of all that was tried."""
DIFFERENCE = "Meta-SGD minus MAML"
TASKS = 600


def cells() -> list[Cell]:
    """Return the table's cells: every reading has the paper's four, and the paired differences."""
    found = []
    for reading in READINGS:
        for start in ("fixed start", "varying start"):
            run = f"{reading}, {start}"
            found += [
                Cell(run, f"{run}: {agent}", *PAPER[agent, start], higher_is_better=True) for agent in ("MAML", "Meta-SGD")
            ]
            found.append(Cell(run, f"{run}: {DIFFERENCE}", PAPER_DIFFERENCE[start], None, True, not_below=0.0))
    return found


def measure(run_name: str, seed: int, scale: float) -> dict[str, Measured]:
    """Train MAML and Meta-SGD alike, keep each one's best iterate by validation tasks, and test them on the same tasks."""
    reading, start = run_name.rsplit(", ", 1)
    preset = PRESETS[READINGS[reading]][1]
    env = VARYING if start == "varying start" else preset.env
    run = replace(preset, env=env, seed=seed, iterations=max(1, round(preset.iterations * scale)))
    maml, meta_sgd = _returns(replace(run, agent="maml")), _returns(run)
    return {
        f"{run_name}: MAML": _measured(maml),
        f"{run_name}: Meta-SGD": _measured(meta_sgd),
        f"{run_name}: {DIFFERENCE}": _measured(meta_sgd - maml),
    }


def _returns(run: Run) -> NDArray[np.float64]:
    """Return each unseen task's return after one step, shape (600,)."""
    agent = run.make().learn(run.iterations, validate_every=run.validate_every, validation_tasks=run.validation_tasks)
    returns: NDArray[np.float64] = agent.restore_best().evaluate(TASKS).values[:, 1]
    return returns


def _measured(values: NDArray[np.float64]) -> Measured:
    return Measured(float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values))))
