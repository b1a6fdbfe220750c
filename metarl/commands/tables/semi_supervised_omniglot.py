"""Semi-supervised Prototypical Networks on Omniglot with a tenth of the labels: Ren et al. 2018, Table 1.

All are judged on the same episodes, with five unlabelled images of each class and as many of five other classes, or without the
latter; Prototypical Networks do not look at them. The one published number is known to us by citation only.
"""

from metarl.commands.presets.semi_supervised import (
    PROTONET_FEW_LABELS_SMALL,
    SEMI_DISTRACTORS_SMALL,
    SEMI_OMNIGLOT_SMALL,
)
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Difference, Exam, Row, Table

MINUTES = 30.0
"""Of one core, for every run."""
DISTRACTORS = {"unlabelled": 0, "unlabelled and distractors": 5}
EXAMS = {
    name: Exam(1000, env_kwargs={"unlabelled": 5, "distractors": distractors, "split": "test"})
    for name, distractors in DISTRACTORS.items()
}
"""Of 5 ways and one shot."""
INFERENCE = {
    name: {**SEMI_OMNIGLOT_SMALL, "refinement": refinement}
    for name, refinement in {
        "soft k-means": "soft",
        "distractor cluster": "distractor-cluster",
        "masked k-means": "masked",
    }.items()
}
"""Trained as Prototypical Networks, refined in testing: the same weights, with masks and clusters as they start."""
CONTROL = "prototypes beside unlabelled images"
"""Not refined: what unlabelled images bring as a part of the batch whose statistics normalise the support set."""
LEARNERS: dict[str, Settings] = {
    "ProtoNet": PROTONET_FEW_LABELS_SMALL,
    CONTROL: {**SEMI_OMNIGLOT_SMALL, "refinements": 0},
    **INFERENCE,
    "trained with unlabelled images: soft": {
        **SEMI_OMNIGLOT_SMALL,
        "env_kwargs": {**SEMI_OMNIGLOT_SMALL["env_kwargs"], "train_unlabelled": 2},
    },
    "trained with distractors: masked": SEMI_DISTRACTORS_SMALL,
}
PUBLISHED = {"distractor cluster, unlabelled": 97.68}
BOTH = tuple(DISTRACTORS)
COMPARED = (
    *((CONTROL, "ProtoNet", shown) for shown in BOTH),
    *(("soft k-means", other, shown) for shown in BOTH for other in ("ProtoNet", CONTROL)),
    *(("masked k-means", other, BOTH[1]) for other in ("ProtoNet", CONTROL, "soft k-means")),
    *(("trained with unlabelled images: soft", other, BOTH[0]) for other in ("ProtoNet", "soft k-means")),
    *(("trained with distractors: masked", other, BOTH[1]) for other in ("ProtoNet", "masked k-means")),
)


def row(name: str, settings: Settings) -> Row:
    """Return a learner's row."""
    cells = [
        Cell(f"{name}, {shown}", PUBLISHED.get(f"{name}, {shown}"), exam=exam, unit=100.0) for shown, exam in EXAMS.items()
    ]
    return Row(name, {**settings, "iterations": 10**7, "validate_every": 0}, tuple(cells))


def difference(minuend: str, subtrahend: str, shown: str) -> Difference:
    """Return what one learner gains over another."""
    return Difference(f"{minuend} minus {subtrahend}, {shown}", f"{minuend}, {shown}", f"{subtrahend}, {shown}")


TABLE = Table(
    title=f"Semi-supervised prototypes, a tenth of Omniglot's labels, {MINUTES:g} minutes of one core at scale 1: accuracy",
    rows=[*(row(name, settings) for name, settings in LEARNERS.items()), *(difference(*pair) for pair in COMPARED)],
    higher_is_better=True,
    seeds=1,
    scale=0.1,
    needs_root=True,
    minutes=MINUTES,
)
