"""metarl list: name what there is."""

from typing import Any

import gymnasium
import tyro
from rich.console import Console
from rich.table import Table

from metarl.commands.presets import PRESETS
from metarl.commands.reproduce import TABLES


def main(arguments: list[str]) -> int:
    """Run the command."""
    tyro.cli(_nothing, args=arguments, prog="metarl list", description="Name the environments, agents, presets and tables.")
    console = Console()
    sections: dict[str, dict[str, Any]] = {
        "environments (gym.make)": {
            name: spec.kwargs or "" for name, spec in gymnasium.registry.items() if name.startswith("metarl/")
        },
        "agents (--agent)": {
            "maml": "gradient descent from a learned start",
            "meta-sgd": "and a learned rate for every parameter",
            "meta-lstm": "an LSTM gates every parameter's steps",
            "meta-lstm-2": "the same with raw gradients, through second order",
            "turtle": "a small network writes every parameter's update",
            "alpha-maml": "MAML that moves its two learning rates by hypergradients",
            "scratch": "baseline: a new network for every task",
            "finetuning": "baseline: pretrained on all classes, a new last layer for every task",
            "baseline++": "baseline: the same with a classifier by cosines",
            "nearest-neighbour": "baseline: pretrained, then the class of the nearest support image",
            "baseline-finetune": "baseline: pretrained, then the whole network trained on every task",
        },
        "presets (metarl train)": {name: text for name, (text, _) in PRESETS.items()},
        "tables (metarl reproduce)": {name: table.TITLE for name, table in TABLES.items()},
    }
    for title, rows in sections.items():
        table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
        for name, text in rows.items():
            table.add_row(name, str(text))
        console.print(table)
    return 0


def _nothing() -> None:
    pass
