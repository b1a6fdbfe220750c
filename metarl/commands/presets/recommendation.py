"""Recommendation to new users: Vartak et al. 2017."""

from collections.abc import Mapping

from metarl.commands.settings import Preset, Settings

RECOMMENDATION: Settings = {
    "agent": "nlba",
    "env": "metarl/Recommendation-v0",
    "env_kwargs": {"shots": 10, "queries": 10},
    "policy": "MLP",
    "policy_kwargs": {"hidden": [16], "activation": "tanh"},
    "meta_batch": 32,
    "outer": "gradient_descent",
    "gradient.learning_rate": 1e-2,
    "gradient.halve_every": 300,
    "iterations": 1000,
    "validate_every": 100,
    "validation_tasks": 500,
}
"""Vartak et al. 2017 on synthetic users, as theirs are not public; widths and rates are ours."""

PRESETS: Mapping[str, Preset] = {
    "lwa-recommendation": (
        "synthetic recommendation: linear weight adaptation",
        {**RECOMMENDATION, "agent": "lwa"},
    ),
    "nlba-recommendation": ("synthetic recommendation: non-linear bias adaptation", RECOMMENDATION),
}
