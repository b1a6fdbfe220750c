"""One-shot classification of unseen alphabets: 20 characters of one alphabet, and drawings by other people.

Lake, Salakhutdinov and Tenenbaum 2015 split the 50 alphabets into a background and an evaluation set and ask, twenty times,
which of twenty characters of one alphabet a drawing by another person shows. Here it is asked many times, of all drawers and of
the evaluation alphabets that have twenty characters. Koch et al. 2015 report 92.0 on their own twenty runs.
"""

from metarl.commands.presets.metric import (
    MATCHING_OMNIGLOT_SMALL,
    PROTONET_OMNIGLOT_SMALL,
    RELATION_OMNIGLOT_SMALL,
)
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Difference, Exam, Row, Table

MINUTES = 30.0
"""Of one core, for every run."""
EXAM = Exam(
    400,
    env_kwargs={
        "ways": 20,
        "shots": 1,
        "queries": 1,
        "split": "test",
        "within": "alphabet",
        "drawers": "different",
        "rotations": "none",
        "distortions": "none",
    },
)
TRAINING = {"characters": "lake", "ways": 20, "shots": 1, "queries": 5, "within": "alphabet", "drawers": "different"}
"""Episodes as they are tested, of which more can be learned in the same time than of characters of all alphabets."""
DEEPER: Settings = {"policy": "ResNet12", "policy_kwargs": {"filters": [16, 32, 64, 128]}}
LEARNERS: dict[str, tuple[Settings, float | None]] = {
    "ProtoNet": (PROTONET_OMNIGLOT_SMALL, None),
    "Matching": (MATCHING_OMNIGLOT_SMALL, None),
    "Matching with FCE": ({**MATCHING_OMNIGLOT_SMALL, "full_context": True}, None),
    "Relation": (RELATION_OMNIGLOT_SMALL, None),
}
"""What does well in ``learners-on-omniglot`` with 20 ways, and published numbers; further rows change the first."""


def row(name: str, settings: Settings, published: float | None = None, distortions: str = "none") -> Row:
    """Return a learner's row, trained on background alphabets."""
    env_kwargs = {**TRAINING, "distortions": distortions}
    run = {**settings, "env_kwargs": env_kwargs, "iterations": 10**7, "validate_every": 0}
    return Row(name, run, (Cell(name, published, exam=EXAM, unit=100.0),))


PROTONET = LEARNERS["ProtoNet"][0]
ROWS = [
    *(row(name, settings, published) for name, (settings, published) in LEARNERS.items()),
    row("distortions", PROTONET, distortions="affine"),
    row("deeper network", {**PROTONET, **DEEPER}),
    row("deeper network, distortions", {**PROTONET, **DEEPER}, distortions="affine"),
]

TABLE = Table(
    title=f"Lake's Omniglot, 20-way 1-shot in one alphabet, {MINUTES:g} minutes of one core at scale 1: accuracy in percent",
    rows=[
        *ROWS,
        *(Difference(f"{one.name} minus ProtoNet", one.name, "ProtoNet") for one in ROWS[len(LEARNERS) :]),
    ],
    higher_is_better=True,
    seeds=1,
    scale=0.1,
    needs_root=True,
    minutes=MINUTES,
)
