"""TURTLE's Table 1, Meta-SGD and ProtoNet on Omniglot: unseen characters, and unseen alphabets (cross-domain)."""

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from metarl.commands.image_methods import TASKS, cells
from metarl.commands.image_methods import settings as settings_of
from metarl.commands.presets.metric import PROTONET_OMNIGLOT_SMALL
from metarl.commands.settings import Settings
from metarl.commands.table import Difference, Exam, Row, Table, by_cell

METHODS = (
    "TrainFromScratch",
    "Finetuning",
    "Baseline++",
    "NearestNeighbour",
    "LSTM",
    "LSTM2",
    "MAML",
    "Meta-SGD",
    "TURTLE",
    "ProtoNet",
)
DOMAINS = {"characters": "maml", "alphabets": "lake"}
"""Tested on other characters of the same alphabets; and on other alphabets than trained on."""
LADDER = ("TrainFromScratch", "Finetuning", "Baseline++", "MAML")
"""The order of the paper's Table 1, from below."""
BEGIN: Settings = {"rate": 0.1}
FINETUNE: Settings = {"rate": 0.01}
CHANGED: dict[str, Settings] = {
    "MAML": {"rate": 0.4, "inner_steps": 1, "inner_clip": None, "gradient.clip_task": None},
    "Meta-SGD": {"rate": 0.4},
    "TURTLE": BEGIN,
    "LSTM": BEGIN,
    "LSTM2": BEGIN,
    "TrainFromScratch": FINETUNE,
    "Finetuning": FINETUNE,
    "Baseline++": FINETUNE,
}
"""TURTLE's tasks and batches, but starts that suit few tasks. MAML and Meta-SGD take MAML's own step on Omniglot; TURTLE and
the LSTMs begin as gradient descent, from where a tenth of the tasks can be enough: from its paper's random start TURTLE was at
25% after 400 tasks. Adam's rate in fine-tuning is 0.01 where the papers, whose networks give 576 features and not 16, have
0.001: better for all three on validation tasks."""


def settings(method: str, domain: str) -> Settings:
    """Return a method's settings, with MAML's strided network of 16 filters; ProtoNet's are those of its own preset."""
    env_kwargs = {"characters": DOMAINS[domain]}
    if method == "ProtoNet":
        env_kwargs = {**PROTONET_OMNIGLOT_SMALL["env_kwargs"], **env_kwargs}
        return {**PROTONET_OMNIGLOT_SMALL, "env_kwargs": env_kwargs, "iterations": TASKS[1]}
    network = {"downsampling": "stride", "filters": 16}
    return settings_of(method, "metarl/Omniglot-v0", 1, env_kwargs, network, **CHANGED.get(method, {}))


def part(domain: str) -> list[Row | Difference]:
    """Return a domain's rows: every method's median and mean, and the steps of the paper's order."""
    rows: list[Row | Difference] = []
    for method in METHODS:
        name, exam = f"{domain}, {method}", Exam(steps=3 if method == "MAML" else None)
        rows.append(Row(name, settings(method, domain), cells(name, exam)))
    for lower, higher in pairwise(LADDER):
        name = f"{domain}: {higher} minus {lower}"
        rows.append(Difference(name, f"{domain}, {higher}: mean", f"{domain}, {lower}: mean"))
    return rows


def picture(rows: list[dict[str, Any]], scale: float) -> Figure:
    """Draw every method's mean accuracy in both domains, with intervals."""
    means = {name: (row["ours"], row["ours_ci"] or 0.0) for name, row in by_cell(rows).items() if row["ours"] is not None}
    drawing = Figure(figsize=(9, 4.5), layout="constrained")
    ax = drawing.subplots()
    for shift, domain in enumerate(DOMAINS):
        points = [(i, *means[name]) for i, method in enumerate(METHODS) if (name := f"{domain}, {method}: mean") in means]
        if points:
            where, middle, half = (np.array(values) for values in zip(*points, strict=True))
            ax.bar(where + 0.4 * (shift - 0.5), middle, 0.38, yerr=half, capsize=3, label=f"unseen {domain}")
    ax.axhline(20, color="black", linewidth=0.8, linestyle=":")
    ax.set_xticks(range(len(METHODS)), METHODS, rotation=20, ha="right", fontsize="small")
    ax.set(ylabel="accuracy in percent", ylim=(0, 100))
    ax.legend(fontsize="small", loc="upper left")
    drawing.suptitle("5-way 1-shot Omniglot (dotted: guessing)" + (f"; scale {scale:g}" if scale != 1 else ""))
    return drawing


TABLE = Table(
    title="TURTLE's Table 1 and Table 3 on Omniglot: 5-way 1-shot accuracy in percent",
    rows=[row for domain in DOMAINS for row in part(domain)],
    higher_is_better=True,
    seeds=2,
    scale=0.1,
    needs_root=True,
    validations=4,
    picture=picture,
)
