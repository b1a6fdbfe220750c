"""Meta-SGD, Table 3: few-shot classification of miniImageNet (Li et al. 2017, section 4.2)."""

from dataclasses import replace
from typing import Any

from metarl.agents import MAML, Agent, MetaLSTM, MetaSGD
from metarl.commands.tables.cell import Cell, Measured
from metarl.commands.tables.turtle_table_1 import learned
from metarl.outer import GradientDescent

TITLE = "Meta-SGD, Table 3: accuracy in percent on miniImageNet"
LSTM_EPISODES = {1: 75_000, 5: 50_000}
"""Ravi and Larochelle's; the LSTM's published figures are theirs."""
DATA = {"metarl/MiniImageNet-v0": ""}
PAPER = {
    (5, 1): {"LSTM": (43.44, 0.77), "MAML": (48.70, 1.84), "Meta-SGD": (50.47, 1.87)},
    (5, 5): {"LSTM": (60.60, 0.71), "MAML": (63.11, 0.92), "Meta-SGD": (64.03, 0.94)},
    (20, 1): {"LSTM": (16.70, 0.23), "MAML": (16.49, 0.58), "Meta-SGD": (17.56, 0.64)},
    (20, 5): {"LSTM": (26.06, 0.25), "MAML": (19.29, 0.29), "Meta-SGD": (28.92, 0.35)},
}
ITERATIONS = 60_000
TEST_TASKS = 600


def cells() -> list[Cell]:
    """Return the table's cells."""
    return [
        Cell(run := f"{ways}-way {shots}-shot, {method}", run, *figure, higher_is_better=True)
        for (ways, shots), row in PAPER.items()
        for method, figure in row.items()
    ]


def make(method: str, ways: int, shots: int, seed: int, root: str) -> Agent:
    """Return a method with Conv4 of 32 filters and 15 query images: MAML's, Meta-SGD's, and Ravi and Larochelle's settings.

    MAML's loss is summed over the ways, as in its code, so that its 0.01 is meant as published.
    """
    given: dict[str, Any] = {
        "policy_kwargs": {"filters": 32},
        "env_kwargs": {"root": root, "ways": ways, "shots": shots, "queries": 15},
        "meta_batch": 4 if shots == 1 else 2,
        "seed": seed,
    }
    outer = GradientDescent(clip_value=10.0, tasks_at_once=4 if ways == 5 else 1)
    if method == "MAML":
        given["env_kwargs"]["reduction"] = "sum over ways"
        return MAML("Conv4", "metarl/MiniImageNet-v0", rate=0.01, inner_steps=5, outer=outer, **given)
    if method == "Meta-SGD":
        return MetaSGD("Conv4", "metarl/MiniImageNet-v0", rate=0.01, outer=outer, **given)
    lstm = GradientDescent(clip_norm=0.25, tasks_at_once=1)
    steps = 12 if shots == 1 else 8
    given |= {"meta_batch": 1, "batch_norm": "support"}  # its figures are not transductive
    return MetaLSTM("Conv4", "metarl/MiniImageNet-v0", outer=lstm, inner_steps=steps, **given)


def measure(run_name: str, seed: int, scale: float, root: str) -> dict[str, Measured]:
    """Train a method, and test it on 600 tasks."""
    setting, method = run_name.split(", ")
    ways, shots = (int(part.split("-")[0]) for part in setting.split())
    agent = make(method, ways, shots, seed, root)
    iterations = max(1, round((LSTM_EPISODES[shots] if method == "LSTM" else ITERATIONS) * scale))
    # miniImageNet's 16 validation classes are too few for 20 ways: there the last iterate is tested
    every = max(1, min(500, iterations // 4)) if ways == 5 else 0
    agent, stopped = learned(agent, iterations, every)
    steps = 10 if method == "MAML" else None
    return {run_name: replace(Measured.of(agent.evaluate(TEST_TASKS, steps), -1, 100.0), stopped=stopped)}
