"""Meta-SGD, Table 1: few-shot sine regression, 18 cells (Li et al. 2017, section 4.1)."""

from dataclasses import replace

import numpy as np

from metarl.commands.presets import META_SGD_SINE, META_SGD_SINE_RUN
from metarl.commands.tables.cell import Cell, Measured

TITLE = "Meta-SGD, Table 1: mean squared error of 5-, 10- and 20-shot sine regression after one step"
SHOTS = (5, 10, 20)
PAPER = {
    ("MAML", 5): ((1.13, 0.18), (0.85, 0.14), (0.71, 0.12)),
    ("Meta-SGD", 5): ((0.90, 0.16), (0.63, 0.12), (0.50, 0.10)),
    ("MAML", 10): ((1.17, 0.16), (0.77, 0.11), (0.56, 0.08)),
    ("Meta-SGD", 10): ((0.88, 0.14), (0.53, 0.09), (0.35, 0.06)),
    ("MAML", 20): ((1.29, 0.20), (0.76, 0.12), (0.48, 0.08)),
    ("Meta-SGD", 20): ((1.01, 0.17), (0.54, 0.08), (0.31, 0.05)),
}
CURVES, REPEATS, POINTS = 100, 100, 100
"""The paper's test: 100 curves, 100 support draws each, 100 evenly spaced query points."""


def cells() -> list[Cell]:
    """Return the table's cells."""
    return [
        Cell(f"{model}, {shots}-shot training", f"{model}, {shots}-shot training, {test}-shot testing", *figure)
        for (model, shots), figures in PAPER.items()
        for test, figure in zip(SHOTS, figures, strict=True)
    ]


def measure(run_name: str, seed: int, scale: float) -> dict[str, Measured]:
    """Train one row and test it at every number of shots."""
    model, shots = next(key for key in PAPER if f"{key[0]}, {key[1]}-shot training" == run_name)
    # one initial rate for all entries, drawn from [0.005, 0.1]; MAML's is 0.01
    rate = float(np.random.default_rng(seed).uniform(0.005, 0.1)) if model == "Meta-SGD" else 0.01
    run = replace(
        META_SGD_SINE_RUN,
        agent="meta-sgd" if model == "Meta-SGD" else "maml",
        env_kwargs={**META_SGD_SINE, "shots": shots, "queries": 10},
        rate=(rate,),
        seed=seed,
        iterations=max(1, round(META_SGD_SINE_RUN.iterations * scale)),
    )
    agent = run.make().learn(run.iterations, log_interval=run.iterations)
    found = {}
    for test in SHOTS:
        kwargs = {**META_SGD_SINE, "shots": test, "queries": POINTS, "query_inputs": "grid"}
        evaluation = agent.evaluate(CURVES, repeats=REPEATS, env_kwargs=kwargs)
        found[f"{run_name}, {test}-shot testing"] = Measured.of(evaluation, 1)
    return found
