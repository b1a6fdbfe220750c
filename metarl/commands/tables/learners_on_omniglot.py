"""Every few-shot learner of the project on the same Omniglot episodes, at an equal budget of one core's time.

A learner that takes tasks of any ways is trained once, with 20 ways; the others once for each number of ways. All normalise by
the statistics of the set at hand, query sets too, as MAML does. Published numbers are as their papers or MAML's and SNAIL's
tables quote them; not all have the same split of characters, and not all that normalisation.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

import numpy as np
from matplotlib.figure import Figure

from metarl.commands.costs import Cost
from metarl.commands.presets.images import OMNIGLOT_SMALL, REPTILE_OMNIGLOT_SMALL
from metarl.commands.presets.memory import MANN_OMNIGLOT_SMALL, SNAIL_OMNIGLOT_SMALL
from metarl.commands.presets.metric import (
    MATCHING_OMNIGLOT_SMALL,
    PROTONET_OMNIGLOT_SMALL,
    RELATION_OMNIGLOT_SMALL,
    SIAMESE_OMNIGLOT_SMALL,
)
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Exam, Row, Table, by_cell
from metarl.commands.tables.methods_on_omniglot import settings as settings_of

MINUTES = 30.0
"""Of one core, for every run."""
ENDLESS = 10**7
"""Outer steps: the time ends a run first."""
WAYS = (5, 20)
SHOTS = (1, 5)
QUERIES = 5
TASKS = {5: 600, 20: 200}
"""Test tasks by ways."""
COSTS: tuple[Cost, ...] = get_args(Cost)
COLUMNS = (*(f"{ways}-way {shots}-shot" for ways in WAYS for shots in SHOTS), *COSTS, *map(str, range(1, 11)))


class Learner(NamedTuple):
    """A learner's line.

    Attributes:
        settings: of its run, as a preset's.
        paper: published accuracies in percent, 5-way 1- and 5-shot and 20-way 1- and 5-shot; None where there is none.
        follows_ways: whether one run serves all ways.
        shots: that it is tested with.
        many_ways: what else differs with 20 ways.
        steps: that it is tested with, if other than in training.
    """

    settings: Settings
    paper: tuple[float | None, float | None, float | None, float | None] = (None, None, None, None)
    follows_ways: bool = False
    shots: tuple[int, ...] = SHOTS
    many_ways: Settings = {}
    steps: int | None = None


LEARNERS: Mapping[str, Learner] = {
    "ProtoNet": Learner(PROTONET_OMNIGLOT_SMALL, (98.8, 99.7, 96.0, 98.9), follows_ways=True),
    "Matching": Learner(MATCHING_OMNIGLOT_SMALL, (98.1, 98.9, 93.8, 98.5), follows_ways=True),
    "Matching with FCE": Learner({**MATCHING_OMNIGLOT_SMALL, "full_context": True}, follows_ways=True),
    "Siamese": Learner(SIAMESE_OMNIGLOT_SMALL, (97.3, 98.4, 88.2, 97.0), follows_ways=True),
    "Relation": Learner(RELATION_OMNIGLOT_SMALL, (99.6, 99.8, 97.6, 99.1), follows_ways=True),
    "SNAIL of one shot": Learner(SNAIL_OMNIGLOT_SMALL, (99.07, None, 97.64, None), shots=(1,)),
    "SNAIL": Learner(
        {**SNAIL_OMNIGLOT_SMALL, "env_kwargs": {**SNAIL_OMNIGLOT_SMALL["env_kwargs"], "train_shots": [1, 5]}},
        (99.07, 99.78, 97.64, 99.36),
    ),
    "MANN": Learner(MANN_OMNIGLOT_SMALL, (82.8, 94.9, None, None), many_ways={"slots": 128}),
    "LSTM reader": Learner({**MANN_OMNIGLOT_SMALL, "agent": "lstm"}),
    "MAML": Learner({**OMNIGLOT_SMALL, "agent": "maml"}, (98.7, 99.9, 95.8, 98.9)),
    "first-order MAML": Learner({**OMNIGLOT_SMALL, "agent": "maml", "first_order": True}, (98.3, 99.2, 89.4, 97.9)),
    "Reptile": Learner({**REPTILE_OMNIGLOT_SMALL, "reptile.anneal_over": None}, (97.68, 99.48, 89.43, 97.12), steps=50),
    "Meta-SGD": Learner(OMNIGLOT_SMALL, (99.53, 99.93, 95.93, 98.97)),
    "Alpha MAML": Learner({**OMNIGLOT_SMALL, "agent": "alpha-maml"}),
    **{name: Learner(settings_of(name, "characters")) for name in ("LSTM2", "TURTLE")},
    **{name: Learner(settings_of(name, "characters")) for name in ("TrainFromScratch", "Finetuning", "Baseline++")},
    "NearestNeighbour": Learner(settings_of("NearestNeighbour", "characters"), follows_ways=True),
}
"""The smaller presets' settings, which suit one core."""


INSTANCES: Mapping[str, Mapping[int, float]] = {
    "MANN": {1: 36.4, 2: 82.8, 3: 91.0, 4: 92.6, 5: 94.9, 10: 98.1},
    "LSTM reader": {1: 24.4, 2: 49.5, 3: 55.3, 4: 61.0, 5: 63.6, 10: 62.5},
}
"""Santoro et al. 2016, Table 1, as it is usually quoted: accuracy in percent at each presentation of a class, 5-way."""


def row(name: str, learner: Learner, ways: int | None) -> Row:
    """Return a run's row: of all ways, or of one number of ways, for which the learner is then made."""
    env_kwargs: dict[str, Any] = {"shots": 1, "queries": QUERIES, **learner.settings.get("env_kwargs", {})}
    if ways is not None:
        env_kwargs = {name: value for name, value in env_kwargs.items() if name != "train_ways"} | {"ways": ways}
    further = learner.many_ways if ways == WAYS[1] else {}
    settings = {**learner.settings, **further, "env_kwargs": env_kwargs, "iterations": ENDLESS, "validate_every": 0}
    cells: list[Cell] = []
    for published, (tested, shots) in zip(learner.paper, ((w, s) for w in WAYS for s in SHOTS), strict=True):
        if ways in (None, tested) and shots in learner.shots:
            shown = {"ways": tested, "shots": shots, "queries": QUERIES, "split": "test"}
            exam = Exam(TASKS[tested], learner.steps, env_kwargs=shown)
            cells.append(Cell(f"{name}, {tested}-way {shots}-shot", published, exam=exam, unit=100.0))
    if name in INSTANCES and ways == WAYS[0]:
        exam = Exam(TASKS[WAYS[0]], env_kwargs={"ways": WAYS[0], "split": "test"}, instances=max(INSTANCES[name]))
        for instance, published in INSTANCES[name].items():
            cells.append(Cell(f"{name} by instance, {instance}", published, exam=exam, step=instance, unit=100.0))
    if ways in (None, WAYS[0]):
        cells += [Cell(f"{name}, {cost}", exam=cells[0].exam, cost=cost) for cost in COSTS]
    return Row(name if ways is None else f"{name}, {ways}-way", settings, tuple(cells))


def rows() -> list[Row]:
    """Return every learner's rows."""
    return [
        row(name, learner, ways) for name, learner in LEARNERS.items() for ways in ((None,) if learner.follows_ways else WAYS)
    ]


def picture(rows: list[dict[str, Any]], scale: float) -> Figure:
    """Draw accuracy against the milliseconds that a task takes, a panel each for 5 and 20 ways, one shot."""
    cells = by_cell(rows)
    drawing = Figure(figsize=(11, 5), layout="constrained")
    for ax, ways in zip(drawing.subplots(1, len(WAYS)), WAYS, strict=True):
        for name in LEARNERS:
            score = cells.get(f"{name}, {ways}-way 1-shot")
            times = [cells.get(f"{name}, {cost}") for cost in COSTS[2:]]
            if score is None or score["ours"] is None or None in times:
                continue
            milliseconds = np.sum([time["ours"] for time in times if time is not None])
            ax.errorbar(milliseconds, score["ours"], yerr=score["ours_ci"], fmt="o", capsize=3)
            ax.annotate(name, (milliseconds, score["ours"]), textcoords="offset points", xytext=(5, 4), fontsize="small")
        ax.set(title=f"{ways}-way 1-shot", xlabel="milliseconds to adapt to a 5-way task and predict", xscale="log")
        ax.grid(alpha=0.3)
    drawing.axes[0].set_ylabel("accuracy on unseen characters in percent")
    drawing.suptitle(f"Few-shot learners on Omniglot, each after {MINUTES * scale:g} minutes of one core")
    return drawing


TABLE = Table(
    title=f"Few-shot learners on Omniglot, each trained for {MINUTES:g} minutes of one core at scale 1: accuracy in percent",
    rows=rows(),
    higher_is_better=True,
    seeds=1,
    scale=0.1,
    needs_root=True,
    minutes=MINUTES,
    columns=COLUMNS,
    picture=picture,
)
