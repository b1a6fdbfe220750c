"""TURTLE, Table 1: 5-way classification of miniImageNet and CUB (Huisman et al. 2022, section 5.3)."""

from metarl.commands.image_methods import METHODS, NETWORK, cells, settings
from metarl.commands.table import Exam, Row, Table

DATA = {"MiniImageNet": {}, "CUB": {"classes": "turtle"}}
PAPER = {
    ("MiniImageNet", 1): ((29, 0), (38, 0), (44, 0), (45, 1), (48, 1), (47, 1), (48, 1)),
    ("MiniImageNet", 5): ((40, 0), (56, 0), (58, 0), (61, 0), (63, 1), (63, 0), (64, 1)),
    ("CUB", 1): ((30, 0), (33, 1), (36, 1), (50, 0), (53, 1), (52, 0), (53, 0)),
    ("CUB", 5): ((46, 0), (53, 1), (53, 1), (65, 1), (71, 0), (73, 1), (72, 1)),
}

TABLE = Table(
    title="TURTLE, Table 1: 5-way accuracy in percent on miniImageNet and CUB (median over tasks, as published; and mean)",
    rows=[
        Row(
            name := f"{data}, {shots}-shot, {method}",
            settings(method, f"metarl/{data}-v0", shots, DATA[data], NETWORK),
            cells(name, Exam(steps=10 if method == "MAML" else None), *paper),
        )
        for (data, shots), papers in PAPER.items()
        for method, paper in zip(METHODS, papers, strict=True)
    ],
    higher_is_better=True,
    interval="seeds",
    seeds=5,
    needs_root=True,
    validations=4,
)
