"""Omniglot with a tenth of its labels: Ren et al. 2018."""

from collections.abc import Mapping

from metarl.commands.presets.metric import PROTONET_OMNIGLOT
from metarl.commands.settings import Preset, Settings

FEW_LABELS: Settings = {"characters": "vinyals", "ways": 5, "shots": 1, "queries": 14, "train_queries": 1, "labelled": 0.1}
PROTONET_FEW_LABELS: Settings = {
    **PROTONET_OMNIGLOT,
    "env_kwargs": FEW_LABELS,
    "gradient.optimizer_kwargs": {"weight_decay": 5e-5},
    "gradient.halve_every": 3000,
}
"""Ren et al. 2018, section 5, and the authors' code, which halves the rate at 6,000 steps and five times more until 18,000."""
PROTONET_FEW_LABELS_SMALL: Settings = {
    **PROTONET_FEW_LABELS,
    "env_kwargs": {**FEW_LABELS, "train_ways": 20},
    "validate_every": 2000,
}
SEMI_OMNIGLOT: Settings = {
    **PROTONET_FEW_LABELS,
    "agent": "semi-protonet",
    "env_kwargs": {**FEW_LABELS, "unlabelled": 5},
}
SEMI_OMNIGLOT_SMALL: Settings = {
    **SEMI_OMNIGLOT,
    "env_kwargs": {**FEW_LABELS, "unlabelled": 5, "train_unlabelled": 0, "train_ways": 20},
    "validate_every": 2000,
}
"""Trained as Prototypical Networks, at their cost: the paper's semi-supervised inference."""
SEMI_DISTRACTORS: Settings = {
    **SEMI_OMNIGLOT,
    "refinement": "masked",
    "env_kwargs": {**FEW_LABELS, "unlabelled": 5, "distractors": 5},
}
SEMI_DISTRACTORS_SMALL: Settings = {
    **SEMI_DISTRACTORS,
    "env_kwargs": {**FEW_LABELS, "unlabelled": 5, "train_unlabelled": 2, "distractors": 5, "train_ways": 20},
    "gradient.halve_every": 2000,
    "iterations": 10_000,
    "validate_every": 2000,
}

PRESETS: Mapping[str, Preset] = {
    "protonet-omniglot-few-labels": (
        "Omniglot, 5-way 1-shot with a tenth of the labels, prototypes as in Ren et al. 2018 (for a GPU)",
        PROTONET_FEW_LABELS,
    ),
    "protonet-omniglot-few-labels-small": (
        "the same trained with 20 ways, in half an hour on one core",
        PROTONET_FEW_LABELS_SMALL,
    ),
    "semi-protonet-omniglot": (
        "the same with 5 unlabelled images of each class: soft k-means, as in Ren et al. 2018 (for a GPU)",
        SEMI_OMNIGLOT,
    ),
    "semi-protonet-omniglot-small": (
        "the same trained with 20 ways and without unlabelled images, in half an hour on one core",
        SEMI_OMNIGLOT_SMALL,
    ),
    "semi-protonet-omniglot-distractors": (
        "the same with unlabelled images of 5 other classes too: masked soft k-means, as in Ren et al. 2018 (for a GPU)",
        SEMI_DISTRACTORS,
    ),
    "semi-protonet-omniglot-distractors-small": (
        "the same trained with 20 ways and 2 unlabelled images a class, in half an hour on one core",
        SEMI_DISTRACTORS_SMALL,
    ),
}
