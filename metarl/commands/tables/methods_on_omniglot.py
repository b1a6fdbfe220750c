"""The methods of TURTLE's Table 1 and Meta-SGD on Omniglot: unseen characters, and unseen alphabets (cross-domain)."""

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from metarl.commands.tables import turtle_table_1
from metarl.commands.tables.cell import Cell, Measured
from metarl.commands.tables.turtle_table_1 import Setting

TITLE = "TURTLE's Table 1 and Table 3 on Omniglot: 5-way 1-shot accuracy in percent"
DEFAULT_SEEDS, DEFAULT_SCALE = 2, 0.1
DATA = {"metarl/Omniglot-v0": ""}
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
)
DOMAINS = {"characters": "maml", "alphabets": "lake"}
"""Tested on other characters of the same alphabets; and on other alphabets than trained on."""
LADDER = ("TrainFromScratch", "Finetuning", "Baseline++", "MAML")
"""The order of the paper's Table 1, from below."""


def cells() -> list[Cell]:
    """Return the table's cells: every method's median and mean, and the steps of the paper's order."""
    found = []
    for domain in DOMAINS:
        for method in METHODS:
            found += turtle_table_1.pair(f"{domain}, {method}")
        for lower, higher in pairwise(LADDER):
            difference = (f"{domain}, {higher}: mean", f"{domain}, {lower}: mean")
            found.append(Cell("", f"{domain}: {higher} minus {lower}", not_below=0.0, difference=difference))
    return found


def setting_of(domain: str) -> Setting:
    """Return the setting: TURTLE's tasks and batches, MAML's strided network with 16 filters, and starts that suit few tasks.

    MAML and Meta-SGD take MAML's own step on Omniglot; TURTLE and the LSTMs begin as gradient descent, from where a tenth of
    the tasks can be enough: from its paper's random start TURTLE was at 25% after 400 tasks. Adam's rate is 0.01 where the
    papers, whose networks give 576 features and not 16, have 0.001: better for all three on validation tasks.
    """
    begin, finetune = {"rate": 0.1}, {"rate": 0.01}
    return Setting(
        "metarl/Omniglot-v0",
        {"characters": DOMAINS[domain]},
        {"downsampling": "stride", "filters": 16},
        60_000,
        changed={
            "MAML": {"rate": 0.4, "inner_steps": 1, "inner_clip": None, "outer": None},
            "Meta-SGD": {"rate": 0.4},
            "TURTLE": begin,
            "LSTM": begin,
            "LSTM2": begin,
            "TrainFromScratch": finetune,
            "Finetuning": finetune,
            "Baseline++": finetune,
        },
        test_steps={"MAML": 3},
    )


def measure(run_name: str, seed: int, scale: float, root: str) -> dict[str, Measured]:
    """Train a method and test it."""
    domain, method = run_name.split(", ")
    setting = setting_of(domain)
    agent, stopped = turtle_table_1.train(setting, method, seed, scale, root)
    return turtle_table_1.figures(run_name, turtle_table_1.test(agent, setting, method, root), stopped)


def picture(rows: list[dict[str, Any]], scale: float) -> Figure:
    """Draw every method's mean accuracy in both domains, with intervals."""
    found = {row["cell"].split(" (scale")[0]: (row["ours"], row["ours_ci"] or 0.0) for row in rows if row["ours"] is not None}
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    ax = figure.subplots()
    for shift, domain in enumerate(DOMAINS):
        points = [(i, *found[name]) for i, method in enumerate(METHODS) if (name := f"{domain}, {method}: mean") in found]
        if points:
            where, means, half = (np.array(values) for values in zip(*points, strict=True))
            ax.bar(where + 0.4 * (shift - 0.5), means, 0.38, yerr=half, capsize=3, label=f"unseen {domain}")
    ax.axhline(20, color="black", linewidth=0.8, linestyle=":")
    ax.set_xticks(range(len(METHODS)), METHODS, rotation=20, ha="right", fontsize="small")
    ax.set(ylabel="accuracy in percent", ylim=(0, 100))
    ax.legend(fontsize="small", loc="upper left")
    figure.suptitle("5-way 1-shot Omniglot (dotted: guessing)" + (f"; scale {scale:g}" if scale != 1 else ""))
    return figure
