"""Meta-SGD, Table 1: few-shot sine regression, 18 cells (Li et al. 2017, section 4.1)."""

from metarl.commands.presets.sine import META_SGD_SINE, SINE
from metarl.commands.run import Uniform
from metarl.commands.table import Cell, Exam, Row, Table

SHOTS = (5, 10, 20)
PAPER = {
    ("MAML", 5): ((1.13, 0.18), (0.85, 0.14), (0.71, 0.12)),
    ("Meta-SGD", 5): ((0.90, 0.16), (0.63, 0.12), (0.50, 0.10)),
    ("MAML", 10): ((1.17, 0.16), (0.77, 0.11), (0.56, 0.08)),
    ("Meta-SGD", 10): ((0.88, 0.14), (0.53, 0.09), (0.35, 0.06)),
    ("MAML", 20): ((1.29, 0.20), (0.76, 0.12), (0.48, 0.08)),
    ("Meta-SGD", 20): ((1.01, 0.17), (0.54, 0.08), (0.31, 0.05)),
}
METHODS = {
    "MAML": {"agent": "maml", "rate": 0.01},
    "Meta-SGD": {"agent": "meta-sgd", "rate": Uniform(0.005, 0.1)},  # one first rate for all entries
}


def exam(shots: int) -> Exam:
    """Return the paper's test: 100 curves, 100 support draws each, 100 evenly spaced query points."""
    return Exam(100, env_kwargs={**META_SGD_SINE, "shots": shots, "queries": 100, "query_inputs": "grid"}, repeats=100)


TABLE = Table(
    title="Meta-SGD, Table 1: mean squared error of 5-, 10- and 20-shot sine regression after one step",
    rows=[
        Row(
            f"{method}, {trained}-shot training",
            {**SINE, **METHODS[method], "env_kwargs": {**META_SGD_SINE, "shots": trained, "queries": 10}},
            tuple(
                Cell(f"{method}, {trained}-shot training, {shots}-shot testing", *paper, exam=exam(shots), step=1)
                for shots, paper in zip(SHOTS, papers, strict=True)
            ),
        )
        for (method, trained), papers in PAPER.items()
    ],
)
