"""Omniglot by memory and attention learners."""

from collections.abc import Mapping

from metarl.commands.presets.images import OMNIGLOT, OMNIGLOT_SMALL
from metarl.commands.settings import Preset, Settings

MANN_OMNIGLOT: Settings = {
    "agent": "mann",
    "env": "metarl/Omniglot-v0",
    "env_kwargs": {"ways": 5, "shots": 10, "queries": 1},
    "policy": "Conv4",
    "policy_kwargs": {"filters": 64},
    "meta_batch": 16,
    "outer": "gradient_descent",
    "gradient.optimizer": "RMSprop",
    "gradient.learning_rate": 1e-4,
    "iterations": 100_000,
    "validate_every": 1000,
    "validation_tasks": 200,
}
"""Santoro et al. 2016, section 4.1: sequences of 50 images. The paper's network sees pixels; ours an embedding of them."""
MANN_OMNIGLOT_SMALL: Settings = {
    **{name: value for name, value in MANN_OMNIGLOT.items() if name != "gradient.optimizer"},
    "env_kwargs": {"ways": 5, "shots": 5, "queries": 1},
    "policy_kwargs": {"filters": 64, "downsampling": "stride"},
    "sharpen": True,
    "start": "associative",
    "reads": 2,
    "slots": 64,
    "meta_batch": 8,
    "gradient.learning_rate": 2e-3,
    "iterations": 6000,
    "validate_every": 500,
}
"""Half the images a sequence, half the slots, and a memory that binds labels to images from the first step."""
SNAIL_OMNIGLOT: Settings = {
    **OMNIGLOT,
    "agent": "snail",
    "env_kwargs": {"ways": 5, "shots": 1, "train_shots": [1, 5], "queries": 15},
    "policy_kwargs": {"hidden": 64},
}
"""Mishra et al. 2018, section 5.1 and the appendix on few-shot classification: 32 episodes, 1 to 5 shots. One pass serves 15
query images of each class, where the paper has a single query. Adam's rate and how long it trained are not known to us."""
SNAIL_OMNIGLOT_SMALL: Settings = {
    **OMNIGLOT_SMALL,
    "agent": "snail",
    "policy_kwargs": {"filters": 64, "downsampling": "stride"},
    "filters": 32,
    "key_sizes": (64, 64, 64),
    "value_sizes": (32, 32, 32),
    "start": "associative",
    "meta_batch": 4,
    "gradient.learning_rate": 1e-3,
    "gradient.halve_every": 6000,
    "iterations": 16_000,
    "validate_every": 1000,
}
"""A quarter of the channels of the paper, MAML's strided convolutions, and attention that finds what is alike from the first
step: from random weights the same time was not enough for it to find the right example."""


PRESETS: Mapping[str, Preset] = {
    "mann-omniglot": ("Omniglot as in MANN: ten images of each of 5 classes one after another (for a GPU)", MANN_OMNIGLOT),
    "mann-omniglot-small": ("the same with five images of each, in half an hour on one core", MANN_OMNIGLOT_SMALL),
    "lstm-omniglot": ("MANN's baseline: an LSTM without an external memory (for a GPU)", {**MANN_OMNIGLOT, "agent": "lstm"}),
    "lstm-omniglot-small": ("the same in half an hour on one core", {**MANN_OMNIGLOT_SMALL, "agent": "lstm"}),
    "snail-omniglot": ("Omniglot, 5-way 1-shot, as in SNAIL (for a GPU)", SNAIL_OMNIGLOT),
    "snail-omniglot-small": ("the same with fewer channels, in half an hour on one core", SNAIL_OMNIGLOT_SMALL),
}
