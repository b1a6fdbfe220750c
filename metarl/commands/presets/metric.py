"""Omniglot by metric learners."""

from collections.abc import Mapping

from metarl.commands.settings import Preset, Settings

PROTONET_OMNIGLOT: Settings = {
    "agent": "protonet",
    "env": "metarl/Omniglot-v0",
    "env_kwargs": {"ways": 5, "train_ways": 60, "shots": 1, "queries": 5},
    "policy": "Conv4",
    "policy_kwargs": {"filters": 64},
    "meta_batch": 1,
    "outer": "gradient_descent",
    "gradient.learning_rate": 1e-3,
    "gradient.halve_every": 2000,
    "iterations": 20_000,
    "validate_every": 1000,
    "validation_tasks": 200,
}
"""Snell, Swersky and Zemel 2017, section 3.1; the paper does not say how many episodes it trained for."""
PROTONET_OMNIGLOT_SMALL: Settings = {
    **PROTONET_OMNIGLOT,
    "env_kwargs": {"ways": 5, "train_ways": 20, "shots": 1, "queries": 5},
    "iterations": 6000,
    "validate_every": 500,
}
MATCHING_OMNIGLOT: Settings = {
    "agent": "matching-net",
    "env": "metarl/Omniglot-v0",
    "env_kwargs": {"ways": 5, "shots": 1, "queries": 15},
    "policy": "Conv4",
    "policy_kwargs": {"filters": 64},
    "meta_batch": 1,
    "outer": "gradient_descent",
    "gradient.learning_rate": 1e-4,
    "iterations": 75_000,
    "validate_every": 1000,
    "validation_tasks": 200,
}
"""Vinyals et al. 2016, section 4.1.1: cosines as they are, trained with the ways that are tested. The paper says no more:
learning rate, query images and length are those of Ravi and Larochelle's code of 2017."""
MATCHING_FCE_OMNIGLOT: Settings = {**MATCHING_OMNIGLOT, "full_context": True, "gradient.clip_norm": 0.25}
"""Their code clips the norm of the LSTMs' gradients; here it is that of all."""
MATCHING_OMNIGLOT_SMALL: Settings = {
    **MATCHING_OMNIGLOT,
    "env_kwargs": {"ways": 5, "train_ways": 20, "shots": 1, "queries": 5},
    "scale": 10.0,
    "gradient.learning_rate": 1e-3,
    "gradient.halve_every": 2000,
    "iterations": 6000,
    "validate_every": 500,
}
"""Scaled cosines and 20 ways in training learn far faster."""
SIAMESE_OMNIGLOT: Settings = {
    "agent": "siamese-net",
    "env": "metarl/Omniglot-v0",
    "env_kwargs": {"ways": 20, "shots": 1, "queries": 6, "characters": "lake", "rotations": "none", "size": 105},
    "policy": "Koch",
    "meta_batch": 1,
    "outer": "gradient_descent",
    "gradient.learning_rate": 1e-4,
    "gradient.optimizer_kwargs": {"weight_decay": 1e-4},
    "iterations": 60_000,
    "validate_every": 1000,
    "validation_tasks": 200,
}
"""Koch et al. 2015: drawings of 105x105, new alphabets, 20 ways. The pairs are those of episodes; Adam stands for the paper's
momentum and rates of each layer, which a search chose; no affine distortions are added."""
SIAMESE_OMNIGLOT_SMALL: Settings = {
    **PROTONET_OMNIGLOT_SMALL,
    "agent": "siamese-net",
    "gradient.learning_rate": 3e-3,
}
RELATION_OMNIGLOT: Settings = {
    "agent": "relation-net",
    "env": "metarl/Omniglot-v0",
    "env_kwargs": {"ways": 5, "shots": 1, "queries": 19},
    "policy": "Conv4",
    "policy_kwargs": {"filters": 64, "pools": 2},
    "meta_batch": 1,
    "outer": "gradient_descent",
    "gradient.learning_rate": 1e-3,
    "gradient.halve_every": 100_000,
    "gradient.clip_norm": 0.5,
    "iterations": 1_000_000,
    "validate_every": 5000,
    "validation_tasks": 200,
}
"""Sung et al. 2018, section 4.1, and the authors' code for the clipping."""
RELATION_OMNIGLOT_SMALL: Settings = {
    **RELATION_OMNIGLOT,
    "env_kwargs": {"ways": 5, "train_ways": 10, "shots": 1, "queries": 5},
    "gradient.halve_every": 2000,
    "iterations": 6000,
    "validate_every": 500,
}

PRESETS: Mapping[str, Preset] = {
    "protonet-omniglot": (
        "Omniglot, 5-way 1-shot, as in Prototypical Networks: trained with 60 ways (for a GPU)",
        PROTONET_OMNIGLOT,
    ),
    "protonet-omniglot-small": (
        "the same trained with 20 ways, in twenty minutes on two cores",
        PROTONET_OMNIGLOT_SMALL,
    ),
    "matching-omniglot": ("Omniglot, 5-way 1-shot, as in Matching Networks (for a GPU)", MATCHING_OMNIGLOT),
    "matching-omniglot-small": (
        "the same with scaled cosines and trained with 20 ways, in half an hour on one core",
        MATCHING_OMNIGLOT_SMALL,
    ),
    "matching-fce-omniglot": (
        "Omniglot, 5-way 1-shot, as in Matching Networks with full context embeddings (for a GPU)",
        MATCHING_FCE_OMNIGLOT,
    ),
    "matching-fce-omniglot-small": (
        "the same with scaled cosines and trained with 20 ways, in half an hour on one core",
        {**MATCHING_OMNIGLOT_SMALL, "full_context": True},
    ),
    "siamese-omniglot": (
        "Omniglot, 20-way 1-shot of new alphabets, near to Koch's Siamese network (for a GPU)",
        SIAMESE_OMNIGLOT,
    ),
    "siamese-omniglot-small": ("Omniglot, 5-way 1-shot, a Siamese Conv4 in half an hour on one core", SIAMESE_OMNIGLOT_SMALL),
    "relation-omniglot": ("Omniglot, 5-way 1-shot, as in Relation Networks (for a GPU)", RELATION_OMNIGLOT),
    "relation-omniglot-small": ("the same trained with 10 ways, in half an hour on one core", RELATION_OMNIGLOT_SMALL),
}
