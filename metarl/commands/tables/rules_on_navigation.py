"""All rules on 2D navigation by the protocol of Meta-SGD's Table 4: return after one step, on the same unseen tasks."""

from dataclasses import replace
from typing import Any

from metarl.commands.presets import PRESETS, VARYING
from metarl.commands.tables.cell import Cell, Measured
from metarl.errors import NonFiniteError

TITLE = "All rules on 2D navigation: return after one step, 600 unseen tasks (Meta-SGD's Table 4 has the first two)"
PRESET = "navigation-best"
TASKS = 600
RULES: dict[str, dict[str, Any]] = {
    "MAML": {"agent": "maml"},
    "Meta-SGD": {"agent": "meta-sgd"},
    "Alpha MAML": {"agent": "alpha-maml"},
    "LSTM": {"agent": "meta-lstm"},
    "LSTM2": {"agent": "meta-lstm-2"},
    "TURTLE": {"agent": "turtle", "agent_kwargs": {"hidden": [20]}},
}
"""What each rule changes of the preset. The learned rules start as its gradient descent."""
CG_ITERATIONS = 6
"""Of the learned rules' Fisher products, which are several times as dear as gradient descent's; 10 for the others."""
PAPER = {
    ("fixed start", "MAML"): (-9.12, 0.66),
    ("fixed start", "Meta-SGD"): (-8.64, 0.68),
    ("varying start", "MAML"): (-10.71, 0.76),
    ("varying start", "Meta-SGD"): (-10.15, 0.62),
}
STANDARD = "Meta-SGD"


def cells() -> list[Cell]:
    """Return the table's cells: every rule's return, and how much the learned rules are above Meta-SGD."""
    found = []
    for start in ("fixed start", "varying start"):
        for rule in RULES:
            run = f"{start}, {rule}"
            paper, interval = PAPER.get((start, rule), (None, None))
            found.append(Cell(run, run, paper, interval, higher_is_better=True))
        for rule in ("LSTM", "LSTM2", "TURTLE"):
            pair = (f"{start}, {rule}", f"{start}, {STANDARD}")
            found.append(Cell("", f"{start}, {rule} minus {STANDARD}", not_below=0.0, difference=pair))
    return found


def measure(run_name: str, seed: int, scale: float) -> dict[str, Measured]:
    """Train one rule, keep its best iterate by validation tasks, and test it."""
    start, rule = run_name.split(", ", 1)
    run = replace(PRESETS[PRESET][1], **RULES[rule], seed=seed)
    if start == "varying start":
        run = replace(run, env=VARYING)
    if rule in ("LSTM", "LSTM2", "TURTLE"):
        run = replace(run, trpo=replace(run.trpo, cg_iterations=CG_ITERATIONS))
    iterations = max(1, round(run.iterations * scale))
    agent, stopped = run.make(), False
    try:
        agent.learn(iterations, validate_every=run.validate_every, validation_tasks=run.validation_tasks)
    except NonFiniteError:
        stopped = True
    return {run_name: replace(Measured.of(agent.restore_best().evaluate(TASKS), 1), stopped=stopped)}
