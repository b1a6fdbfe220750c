"""The methods of TURTLE's Tables 1 and 3 on images, as the paper has them, and its code where that is silent."""

from collections.abc import Mapping
from typing import Any

from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Exam

METHODS = ("TrainFromScratch", "Finetuning", "Baseline++", "LSTM", "LSTM2", "MAML", "TURTLE")
"""In the order of the paper's tables."""
QUERIES = 16
VALIDATE_EVERY = 2_500
"""Tasks, or batches of pretraining."""
TASKS = {1: 60_000, 5: 40_000}
"""Training tasks, or batches of pretraining, by shots."""
NETWORK: Mapping[str, Any] = {"padding": 0}
"""TURTLE's code pads no convolution, which leaves 576 features, and splits CUB's classes 140/30/30."""


def protocol(method: str, shots: int) -> Settings:
    """Return a method's agent and options."""
    batch = 4 if shots == 1 else 2
    clipped: Settings = {"inner_clip": 10.0, "gradient.clip_task": 10.0}
    lstm: Settings = {"meta_batch": 1, "gradient.clip_norm": 0.25}
    methods: dict[str, Settings] = {
        "TrainFromScratch": {"agent": "scratch"},
        "Finetuning": {"agent": "finetuning"},
        "Baseline++": {"agent": "baseline++"},
        "NearestNeighbour": {"agent": "nearest-neighbour"},
        "LSTM": {"agent": "meta-lstm", "inner_steps": 12 if shots == 1 else 5, **lstm},
        "LSTM2": {"agent": "meta-lstm-2", "inner_steps": 8, **lstm},
        "MAML": {"agent": "maml", "rate": 0.01, "inner_steps": 5, "meta_batch": batch, **clipped},
        "Meta-SGD": {"agent": "meta-sgd", "rate": 0.01, "inner_steps": 1, "meta_batch": batch},
        # without the time, as in the commands of the authors' code; their paper's text has it
        "TURTLE": {
            "agent": "turtle",
            "inputs": ("gradient", "gradient-history"),
            "inner_steps": 5,
            "meta_batch": 2,
            **clipped,
        },
    }
    return methods[method]


def settings(
    method: str, env: str, shots: int, env_kwargs: Mapping[str, Any], policy_kwargs: Mapping[str, Any], **changed: Any
) -> Settings:
    """Return the settings of a method's run.

    Args:
        method: its name.
        env: the family's id.
        shots: of a training task.
        env_kwargs: the family's other arguments.
        policy_kwargs: of Conv4.
        changed: options that differ from the paper's protocol.
    """
    chosen = {**protocol(method, shots), **changed}
    batch = chosen.get("meta_batch", 1)  # a step of pretraining counts as a task
    return {
        "env": env,
        "env_kwargs": {"shots": shots, "queries": QUERIES, **env_kwargs},
        "policy": "Conv4",
        "policy_kwargs": policy_kwargs,
        "iterations": TASKS[shots] // batch,
        "validate_every": VALIDATE_EVERY // batch,
        "validation_tasks": 200,
        **chosen,
    }


def cells(name: str, exam: Exam, paper: float | None = None, paper_ci: float | None = None) -> tuple[Cell, Cell]:
    """Return a method's cells, in percent: the median over tasks, which the paper has, and the mean."""
    return (
        Cell(f"{name}: median", paper, paper_ci, exam, statistic="median", unit=100.0),
        Cell(f"{name}: mean", exam=exam, unit=100.0),
    )
