"""Meta-SGD, Table 2: few-shot classification of Omniglot (Li et al. 2017, section 4.2)."""

from collections.abc import Mapping
from typing import Any

from metarl.commands.presets.images import OMNIGLOT
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Exam, Row, Table

SHOTS = (1, 5)
PAPER: dict[tuple[str, int], tuple[tuple[float, float], ...]] = {
    ("MAML", 5): ((98.7, 0.4), (99.9, 0.1)),
    ("Meta-SGD", 5): ((99.53, 0.26), (99.93, 0.09)),
    ("MAML", 20): ((95.8, 0.3), (98.9, 0.2)),
    ("Meta-SGD", 20): ((95.93, 0.38), (98.97, 0.19)),
}
"""MAML's are its own paper's, whose 5-shot numbers are of 5-shot training."""
METHODS: Mapping[str, Settings] = {
    # its paper: one step of 0.4, on the mean loss, where it learned faster than on its code's summed loss in a first trial
    "MAML": {"agent": "maml", "rate": 0.4},
    "Meta-SGD": {"agent": "meta-sgd", "rate": 0.1},
    "LSTM2": {"agent": "meta-lstm-2", "rate": None, "inner_steps": 8, "gradient.clip_norm": 0.25},
    "TURTLE": {"agent": "turtle", "rate": None, "inner_steps": 5, "inner_clip": 10.0, "gradient.clip_task": 10.0},
}
# 20 ways: five steps of 0.1 on the summed loss
MAML_20: Settings = {"agent": "maml", "rate": 0.1, "inner_steps": 5}


def settings(method: str, ways: int) -> Settings:
    """Return a method in Meta-SGD's setting: Conv4 with pooling and a layer of 32, 15 query images, Adam at 0.001."""
    env_kwargs: dict[str, Any] = {"ways": ways, "shots": 1, "queries": 15}
    chosen = METHODS[method]
    if (method, ways) == ("MAML", 20):
        chosen, env_kwargs["reduction"] = MAML_20, "sum over ways"
    return {
        **OMNIGLOT,
        **chosen,
        "env_kwargs": env_kwargs,
        "meta_batch": 32 if ways == 5 else 16,
        "gradient.tasks_at_once": 8 if ways == 5 else 2,  # tasks whose activations are in memory together
        "validation_tasks": 100,
    }


def row(method: str, ways: int) -> Row:
    """Return a method's row: trained with one shot, tested with one and with five."""
    name = f"{ways}-way, {method}"
    steps = 3 if (method, ways) == ("MAML", 5) else None
    papers = PAPER.get((method, ways), ((None, None),) * len(SHOTS))
    cells = tuple(
        Cell(f"{name}, {shots}-shot", *paper, exam=Exam(steps=steps, env_kwargs={"shots": shots}), unit=100.0)
        for shots, paper in zip(SHOTS, papers, strict=True)
    )
    return Row(name, settings(method, ways), cells)


TABLE = Table(
    title="Meta-SGD, Table 2: accuracy in percent on Omniglot; all trained with 1 shot, tested with 1 and 5",
    rows=[row(method, ways) for ways in (5, 20) for method in METHODS],
    higher_is_better=True,
    needs_root=True,
    validations=4,
)
