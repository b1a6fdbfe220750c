"""Image classes by gradient learners."""

from collections.abc import Mapping

from metarl.commands.settings import Preset, Settings

OMNIGLOT: Settings = {
    "agent": "meta-sgd",
    "env": "metarl/Omniglot-v0",
    "env_kwargs": {"ways": 5, "shots": 1, "queries": 15},
    "policy": "Conv4",
    "policy_kwargs": {"hidden": 32},
    "rate": 0.1,
    "inner_steps": 1,
    "meta_batch": 32,
    "outer": "gradient_descent",
    "iterations": 60_000,
    "validate_every": 500,
    "validation_tasks": 200,
}
"""Meta-SGD's protocol on Omniglot: max-pooling, a linear layer of 32 before the head, 15 query images of each class."""
OMNIGLOT_SMALL: Settings = {
    **OMNIGLOT,
    "env_kwargs": {"ways": 5, "shots": 1, "queries": 5},
    "policy_kwargs": {"downsampling": "stride"},
    "rate": 0.4,
    "meta_batch": 16,
    "iterations": 6000,
    "validate_every": 250,
}
"""What two cores can do: MAML's strided convolutions, which cost a quarter, and fewer query images."""
MAML_OMNIGLOT: Settings = {
    **OMNIGLOT,
    "agent": "maml",
    "env_kwargs": {"ways": 5, "shots": 1, "queries": 1, "rotations": "drawn", "reduction": "sum over ways"},
    "policy_kwargs": {"downsampling": "stride"},
    "adapted": ("conv*", "head*"),
    "rate": 0.4,
}
MINIIMAGENET: Settings = {
    **OMNIGLOT,
    "env": "metarl/MiniImageNet-v0",
    "policy_kwargs": {"filters": 32},
    "rate": 0.01,
    "gradient.clip_value": 10.0,
    "meta_batch": 4,
}
REPTILE_OMNIGLOT: Settings = {
    "agent": "reptile",
    "env": "metarl/Omniglot-v0",
    "env_kwargs": {"ways": 5, "shots": 10, "queries": 5},
    "policy": "Conv4",
    "policy_kwargs": {"downsampling": "stride"},
    "rate": 1e-3,
    "inner_steps": 5,
    "support_batch": 10,
    "meta_batch": 5,
    "outer": "reptile",
    "reptile.fraction": 1.0,
    "reptile.anneal_over": 100_000,
    "iterations": 100_000,
    "validate_every": 0,
}
"""Reptile's appendix: ten shots in training, of which each of five steps sees a minibatch of ten images. It is tested with one
shot and 50 steps: metarl evaluate RUN --steps 50 --env-kwargs '{"shots": 1}'."""
REPTILE_OMNIGLOT_SMALL: Settings = {**REPTILE_OMNIGLOT, "reptile.anneal_over": 4000, "iterations": 4000}

PRESETS: Mapping[str, Preset] = {
    "omniglot": ("Omniglot, 5-way 1-shot, as in Meta-SGD, Table 2 (for a GPU)", OMNIGLOT),
    "omniglot-small": ("Omniglot, 5-way 1-shot, in half an hour on two cores", OMNIGLOT_SMALL),
    "maml-omniglot": (
        "Omniglot, 5-way 1-shot, near to MAML's code: summed loss, one query image of a class, no inner step on batch-norm",
        MAML_OMNIGLOT,
    ),
    "fomaml-omniglot": (
        "the same by first-order MAML (Reptile's paper, Table 1)",
        {**MAML_OMNIGLOT, "first_order": True},
    ),
    "fomaml-omniglot-small": (
        "Omniglot, 5-way 1-shot, by first-order MAML in twenty minutes on two cores",
        {**OMNIGLOT_SMALL, "agent": "maml", "first_order": True},
    ),
    "reptile-omniglot": ("Omniglot, 5 ways, as in Reptile, with transduction (for a GPU)", REPTILE_OMNIGLOT),
    "reptile-omniglot-small": ("the same in half an hour on two cores", REPTILE_OMNIGLOT_SMALL),
    "miniimagenet": ("miniImageNet, 5-way 1-shot, as in Meta-SGD, Table 3", MINIIMAGENET),
    "cub": (
        "CUB birds, 5-way 1-shot, with miniImageNet's settings",
        {**MINIIMAGENET, "env": "metarl/CUB-v0", "policy_kwargs": {"filters": 64}},
    ),
    "images": (
        "your own images, a folder a class (--root FOLDER)",
        {
            **MINIIMAGENET,
            "env": "metarl/ImageFolder-v0",
            "env_kwargs": {"ways": 5, "shots": 1, "queries": 5},
            "iterations": 6000,
        },
    ),
}
