"""TURTLE, Table 3: trained on miniImageNet, tested on CUB (Huisman et al. 2022, section 5.3)."""

from metarl.commands.image_methods import METHODS, NETWORK, QUERIES, cells, settings
from metarl.commands.table import Exam, Row, Table

PAPER = {
    1: ((30, 0), (33, 0), (35, 0), (35, 0), (36, 0), (39, 0), (42, 1)),
    5: ((46, 0), (52, 0), (52, 0), (51, 1), (56, 0), (58, 0), (59, 1)),
}


def exam(method: str, shots: int) -> Exam:
    """Return the test on CUB."""
    env_kwargs = {"shots": shots, "queries": QUERIES, "classes": "turtle"}
    return Exam(steps=10 if method == "MAML" else None, env="metarl/CUB-v0", env_kwargs=env_kwargs)


TABLE = Table(
    title="TURTLE, Table 3: 5-way accuracy in percent on CUB after training on miniImageNet (median over tasks; and mean)",
    rows=[
        Row(
            name := f"{shots}-shot, {method}",
            settings(method, "metarl/MiniImageNet-v0", shots, {}, NETWORK),
            cells(name, exam(method, shots), *paper),
        )
        for shots, papers in PAPER.items()
        for method, paper in zip(METHODS, papers, strict=True)
    ],
    higher_is_better=True,
    interval="seeds",
    seeds=5,
    needs_root=True,
    validations=4,
)
