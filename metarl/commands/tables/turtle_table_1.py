"""TURTLE, Table 1: 5-way classification of miniImageNet and CUB (Huisman et al. 2022, section 5.3)."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metarl.agents import (
    MAML,
    TURTLE,
    Agent,
    BaselinePlusPlus,
    Evaluation,
    Finetuning,
    MetaLSTM,
    MetaLSTM2,
    MetaSGD,
    NearestNeighbour,
    TrainFromScratch,
)
from metarl.commands.tables.cell import Cell, Measured
from metarl.errors import NonFiniteError
from metarl.outer import GradientDescent

TITLE = "TURTLE, Table 1: 5-way accuracy in percent on miniImageNet and CUB (median over tasks, as published; and mean)"
INTERVAL = "seeds"
DEFAULT_SEEDS = 5
DATA = {"metarl/MiniImageNet-v0": "MiniImageNet", "metarl/CUB-v0": "CUB"}
"""What the runs with these words in their names need."""
METHODS = ("TrainFromScratch", "Finetuning", "Baseline++", "LSTM", "LSTM2", "MAML", "TURTLE")
PAPER = {
    ("MiniImageNet", 1): ((29, 0), (38, 0), (44, 0), (45, 1), (48, 1), (47, 1), (48, 1)),
    ("MiniImageNet", 5): ((40, 0), (56, 0), (58, 0), (61, 0), (63, 1), (63, 0), (64, 1)),
    ("CUB", 1): ((30, 0), (33, 1), (36, 1), (50, 0), (53, 1), (52, 0), (53, 0)),
    ("CUB", 5): ((46, 0), (53, 1), (53, 1), (65, 1), (71, 0), (73, 1), (72, 1)),
}
QUERIES = 16
VALIDATE_EVERY = 2_500
VALIDATION_TASKS, TEST_TASKS = 200, 600


@dataclass(frozen=True)
class Setting:
    """Where methods are trained and tested, and for how long."""

    env: str
    env_kwargs: dict[str, Any]
    policy_kwargs: dict[str, Any]
    tasks: int
    """Training tasks of meta-learners, and batches of pretraining."""
    shots: int = 1
    test_env: str | None = None
    """Another family to test on; None for the same."""
    test_kwargs: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Arguments of methods that differ from TURTLE's protocol."""
    test_steps: dict[str, int] = field(default_factory=lambda: {"MAML": 10})
    """Inner steps in testing, where they differ from training."""


def protocol(method: str, shots: int) -> tuple[type[Agent], dict[str, Any]]:
    """Return a method's class and arguments: TURTLE's paper, and its code where that is silent."""
    batch = 4 if shots == 1 else 2
    clipped = {"inner_clip": 10.0, "outer": GradientDescent(clip_task=10.0)}
    lstm = {"meta_batch": 1, "outer": GradientDescent(clip_norm=0.25)}
    found: dict[str, tuple[type[Agent], dict[str, Any]]] = {
        "TrainFromScratch": (TrainFromScratch, {}),
        "Finetuning": (Finetuning, {}),
        "Baseline++": (BaselinePlusPlus, {}),
        "NearestNeighbour": (NearestNeighbour, {}),
        "LSTM": (MetaLSTM, {"inner_steps": 12 if shots == 1 else 5, **lstm}),
        "LSTM2": (MetaLSTM2, lstm),
        "MAML": (MAML, {"rate": 0.01, "inner_steps": 5, "meta_batch": batch, **clipped}),
        "Meta-SGD": (MetaSGD, {"rate": 0.01, "meta_batch": batch}),
        # without the time, as in the commands of the authors' code; their paper's text has it
        "TURTLE": (TURTLE, {"inputs": ("gradient", "gradient-history"), "inner_steps": 5, "meta_batch": 2, **clipped}),
    }
    return found[method]


def make(setting: Setting, method: str, seed: int, root: str) -> Agent:
    """Return the agent of a method, new."""
    kind, kwargs = protocol(method, setting.shots)
    env_kwargs = {"shots": setting.shots, "queries": QUERIES, "root": root, **setting.env_kwargs}
    given = {"policy_kwargs": setting.policy_kwargs, **kwargs, **setting.changed.get(method, {})}
    return kind("Conv4", setting.env, env_kwargs=env_kwargs, seed=seed, **given)


def train(setting: Setting, method: str, seed: int, scale: float, root: str) -> tuple[Agent, bool]:
    """Return a method trained on a fraction of the tasks, at its best validation; and whether it stopped early."""
    agent = make(setting, method, seed, root)
    tasks = max(1, round(setting.tasks * scale))
    batch = 1 if method in ("Finetuning", "Baseline++", "NearestNeighbour") else agent.meta_batch
    iterations = max(1, tasks // batch)
    every = max(1, min(VALIDATE_EVERY // batch, iterations // 4))
    return learned(agent, iterations, every, VALIDATION_TASKS)


def learned(agent: Agent, iterations: int, validate_every: int, validation_tasks: int = 100) -> tuple[Agent, bool]:
    """Let an agent learn and return it at its best validation; and whether a loss that was not finite stopped it."""
    stopped = False
    try:
        agent.learn(iterations, log_interval=iterations + 1, validate_every=validate_every, validation_tasks=validation_tasks)
    except NonFiniteError:
        stopped = True
    return agent.restore_best(), stopped


def test(agent: Agent, setting: Setting, method: str, root: str) -> Evaluation:
    """Return the evaluation on 600 unseen tasks, of another family if the setting has one."""
    steps = setting.test_steps.get(method)
    if setting.test_env is None:
        return agent.evaluate(TEST_TASKS, steps)
    kwargs = {"shots": setting.shots, "queries": QUERIES, "root": root, **setting.test_kwargs}
    return agent.evaluate(TEST_TASKS, steps, env=setting.test_env, env_kwargs=kwargs)


def figures(name: str, evaluation: Evaluation, stopped: bool) -> dict[str, Measured]:
    """Return the median and the mean over tasks, in percent."""
    median = Measured(100 * float(np.median(evaluation.values[:, -1])), stopped=stopped)
    return {f"{name}: median": median, f"{name}: mean": replace(Measured.of(evaluation, -1, 100.0), stopped=stopped)}


def pair(name: str, paper: float | None = None, paper_ci: float | None = None) -> list[Cell]:
    """Return the cells of a method: the median, which the paper has, and the mean."""
    return [
        Cell(name, f"{name}: median", paper, paper_ci, higher_is_better=True),
        Cell(name, f"{name}: mean", higher_is_better=True),
    ]


def cells() -> list[Cell]:
    """Return the table's cells."""
    return [
        cell
        for (data, shots), row in PAPER.items()
        for method, figure in zip(METHODS, row, strict=True)
        for cell in pair(f"{data}, {shots}-shot, {method}", *figure)
    ]


# TURTLE's code pads no convolution, which leaves 576 features, and splits CUB's classes 140/30/30
NETWORK = {"padding": 0}


def setting_of(data: str, shots: int) -> Setting:
    """Return the paper's setting for a data set."""
    env_kwargs = {"classes": "turtle"} if data == "CUB" else {}
    return Setting(f"metarl/{data}-v0", env_kwargs, NETWORK, 60_000 if shots == 1 else 40_000, shots)


def measure(run_name: str, seed: int, scale: float, root: str) -> dict[str, Measured]:
    """Train a method and test it."""
    data, shots, method = run_name.split(", ")
    setting = setting_of(data, int(shots[0]))
    agent, stopped = train(setting, method, seed, scale, root)
    return figures(run_name, test(agent, setting, method, root), stopped)
