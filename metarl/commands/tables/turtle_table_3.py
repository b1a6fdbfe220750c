"""TURTLE, Table 3: trained on miniImageNet, tested on CUB (Huisman et al. 2022, section 5.3)."""

from dataclasses import replace

from metarl.commands.tables import turtle_table_1
from metarl.commands.tables.cell import Cell, Measured

TITLE = "TURTLE, Table 3: 5-way accuracy in percent on CUB after training on miniImageNet (median over tasks; and mean)"
INTERVAL = "seeds"
DEFAULT_SEEDS = 5
DATA = {"metarl/MiniImageNet-v0": "", "metarl/CUB-v0": ""}
PAPER = {
    1: ((30, 0), (33, 0), (35, 0), (35, 0), (36, 0), (39, 0), (42, 1)),
    5: ((46, 0), (52, 0), (52, 0), (51, 1), (56, 0), (58, 0), (59, 1)),
}


def cells() -> list[Cell]:
    """Return the table's cells."""
    return [
        cell
        for shots, row in PAPER.items()
        for method, figure in zip(turtle_table_1.METHODS, row, strict=True)
        for cell in turtle_table_1.pair(f"{shots}-shot, {method}", *figure)
    ]


def measure(run_name: str, seed: int, scale: float, root: str) -> dict[str, Measured]:
    """Train a method on miniImageNet and test it on CUB."""
    shots, method = run_name.split(", ")
    setting = replace(
        turtle_table_1.setting_of("MiniImageNet", int(shots[0])),
        test_env="metarl/CUB-v0",
        test_kwargs={"classes": "turtle"},
    )
    agent, stopped = turtle_table_1.train(setting, method, seed, scale, root)
    return turtle_table_1.figures(run_name, turtle_table_1.test(agent, setting, method, root), stopped)
