"""Meta-SGD, Table 2: few-shot classification of Omniglot (Li et al. 2017, section 4.2)."""

from dataclasses import replace
from typing import Any

from metarl.agents import MAML, TURTLE, Agent, MetaLSTM2, MetaSGD
from metarl.commands.tables.cell import Cell, Measured
from metarl.commands.tables.turtle_table_1 import learned
from metarl.outer import GradientDescent

TITLE = "Meta-SGD, Table 2: accuracy in percent on Omniglot; all trained with 1 shot, tested with 1 and 5"
DATA = {"metarl/Omniglot-v0": ""}
SHOTS = (1, 5)
PAPER: dict[tuple[str, int], tuple[tuple[float, float], ...]] = {
    ("MAML", 5): ((98.7, 0.4), (99.9, 0.1)),
    ("Meta-SGD", 5): ((99.53, 0.26), (99.93, 0.09)),
    ("MAML", 20): ((95.8, 0.3), (98.9, 0.2)),
    ("Meta-SGD", 20): ((95.93, 0.38), (98.97, 0.19)),
}
"""MAML's are its own paper's, whose 5-shot figures are of 5-shot training."""
METHODS = ("MAML", "Meta-SGD", "LSTM2", "TURTLE")
WAYS = (5, 20)
ITERATIONS = 60_000
TEST_TASKS = 600


def cells() -> list[Cell]:
    """Return the table's cells; the LSTM's and TURTLE's have no published figure."""
    found = []
    for ways in WAYS:
        for method in METHODS:
            run = f"{ways}-way, {method}"
            papers = PAPER.get((method, ways), ((None, None),) * len(SHOTS))
            found += [Cell(run, f"{run}, {shots}-shot", *paper, True) for shots, paper in zip(SHOTS, papers, strict=True)]
    return found


def make(method: str, ways: int, seed: int, root: str) -> Agent:
    """Return a method in Meta-SGD's setting: Conv4 with pooling and a layer of 32, 15 query images, Adam at 0.001."""
    given: dict[str, Any] = {
        "policy_kwargs": {"hidden": 32},
        "env_kwargs": {"root": root, "ways": ways, "shots": 1, "queries": 15},
        "meta_batch": 32 if ways == 5 else 16,
        "seed": seed,
    }
    at_once = 8 if ways == 5 else 2  # tasks whose activations are in memory together
    if method == "MAML":  # its paper: one step of 0.4 (on the mean loss, where it learned faster than on its code's summed
        # loss in a first trial), or at 20 ways five steps of 0.1 on the summed loss
        own: dict[str, Any] = {"rate": 0.4}
        if ways == 20:
            own = {"rate": 0.1, "inner_steps": 5}
            given["env_kwargs"]["reduction"] = "sum over ways"
        return MAML("Conv4", "metarl/Omniglot-v0", outer=GradientDescent(tasks_at_once=at_once), **own, **given)
    if method == "Meta-SGD":
        return MetaSGD("Conv4", "metarl/Omniglot-v0", rate=0.1, outer=GradientDescent(tasks_at_once=at_once), **given)
    if method == "LSTM2":
        outer = GradientDescent(clip_norm=0.25, tasks_at_once=at_once)
        return MetaLSTM2("Conv4", "metarl/Omniglot-v0", outer=outer, **given)
    outer = GradientDescent(clip_task=10.0, tasks_at_once=at_once)
    return TURTLE("Conv4", "metarl/Omniglot-v0", inner_steps=5, inner_clip=10.0, outer=outer, **given)


def measure(run_name: str, seed: int, scale: float, root: str) -> dict[str, Measured]:
    """Train a method with one shot, and test it with one and with five."""
    ways, method = run_name.split("-way, ")
    agent = make(method, int(ways), seed, root)
    iterations = max(1, round(ITERATIONS * scale))
    every = max(1, min(500, iterations // 4))
    agent, stopped = learned(agent, iterations, every)
    steps = 3 if (method, int(ways)) == ("MAML", 5) else None
    found = {shots: agent.evaluate(TEST_TASKS, steps, env_kwargs={"shots": shots}) for shots in SHOTS}
    return {
        f"{run_name}, {shots}-shot": replace(Measured.of(evaluation, -1, 100.0), stopped=stopped)
        for shots, evaluation in found.items()
    }
