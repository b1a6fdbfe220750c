"""Learners that read a support set, on sine waves: beside the 18 cells of MAML and Meta-SGD in Meta-SGD's Table 1."""

from metarl.commands.presets.sine import META_SGD_SINE, NEURAL_PROCESS_SINE, SNAIL_SINE
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Row, Table
from metarl.commands.tables import meta_sgd_table_1
from metarl.commands.tables.meta_sgd_table_1 import SHOTS, exam

LEARNERS: dict[str, Settings] = {"SNAIL": SNAIL_SINE, "Neural process": NEURAL_PROCESS_SINE}


def row(learner: str, trained: int) -> Row:
    """Return a learner's row: its own preset with so many shots in training, and Meta-SGD's tests."""
    settings = LEARNERS[learner]
    name = f"{learner}, {trained}-shot training"
    return Row(
        name,
        {**settings, "env_kwargs": {**settings["env_kwargs"], **META_SGD_SINE, "shots": trained}},
        tuple(Cell(f"{name}, {shots}-shot testing", exam=exam(shots)) for shots in SHOTS),
    )


TABLE = Table(
    title="Mean squared error of 5-, 10- and 20-shot sine regression: learners that read, beside Meta-SGD's Table 1",
    rows=[*meta_sgd_table_1.TABLE.rows, *(row(learner, trained) for learner in LEARNERS for trained in SHOTS)],
)
