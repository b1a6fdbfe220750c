"""Meta-SGD, Table 3: few-shot classification of miniImageNet (Li et al. 2017, section 4.2)."""

from typing import Any

from metarl.commands.presets.images import MINIIMAGENET
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Exam, Row, Table

LSTM_EPISODES = {1: 75_000, 5: 50_000}
"""Ravi and Larochelle's; the LSTM's published numbers are theirs."""
PAPER = {
    (5, 1): {"LSTM": (43.44, 0.77), "MAML": (48.70, 1.84), "Meta-SGD": (50.47, 1.87)},
    (5, 5): {"LSTM": (60.60, 0.71), "MAML": (63.11, 0.92), "Meta-SGD": (64.03, 0.94)},
    (20, 1): {"LSTM": (16.70, 0.23), "MAML": (16.49, 0.58), "Meta-SGD": (17.56, 0.64)},
    (20, 5): {"LSTM": (26.06, 0.25), "MAML": (19.29, 0.29), "Meta-SGD": (28.92, 0.35)},
}


def settings(method: str, ways: int, shots: int) -> Settings:
    """Return a method with Conv4 of 32 filters and 15 query images: MAML's, Meta-SGD's, and Ravi and Larochelle's settings.

    MAML's loss is summed over the ways, as in its code, so that its 0.01 is meant as published.
    """
    env_kwargs: dict[str, Any] = {"ways": ways, "shots": shots, "queries": 15}
    common: Settings = {
        **MINIIMAGENET,
        "env_kwargs": env_kwargs,
        "meta_batch": 4 if shots == 1 else 2,
        "gradient.tasks_at_once": 4 if ways == 5 else 1,
        # miniImageNet's 16 validation classes are too few for 20 ways: there the last iterate is tested
        "validate_every": 500 if ways == 5 else 0,
        "validation_tasks": 100,
    }
    if method == "Meta-SGD":
        return {**common, "agent": "meta-sgd"}
    if method == "MAML":
        env_kwargs["reduction"] = "sum over ways"
        return {**common, "agent": "maml", "inner_steps": 5}
    return {
        **common,
        "agent": "meta-lstm",
        "rate": None,
        "inner_steps": 12 if shots == 1 else 8,
        "meta_batch": 1,
        "batch_norm": "support",  # its numbers are not transductive
        "gradient.clip_value": None,
        "gradient.clip_norm": 0.25,
        "gradient.tasks_at_once": 1,
        "iterations": LSTM_EPISODES[shots],
    }


TABLE = Table(
    title="Meta-SGD, Table 3: accuracy in percent on miniImageNet",
    rows=[
        Row(
            name := f"{ways}-way {shots}-shot, {method}",
            settings(method, ways, shots),
            (Cell(name, *paper, exam=Exam(steps=10 if method == "MAML" else None), unit=100.0),),
        )
        for (ways, shots), papers in PAPER.items()
        for method, paper in papers.items()
    ],
    higher_is_better=True,
    needs_root=True,
    validations=4,
)
