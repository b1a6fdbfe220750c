"""A learned optimiser: Andrychowicz et al. 2016."""

from collections.abc import Mapping

from metarl.commands.settings import Preset, Settings

LEARNED_OPTIMISER: Settings = {
    "agent": "learned-optimiser",
    "env": "metarl/Quadratics-v0",
    "policy": "Linear",
    "start": 0.01,
    "inner_steps": 100,
    "meta_batch": 32,
    "outer": "truncated_backpropagation",
    "truncated.unroll": 20,
    "truncated.learning_rate": 3e-3,
    "truncated.halve_every": 1000,
    "iterations": 3000,
    "validate_every": 0,
}
"""Andrychowicz et al. 2016, section 3.1: quadratics of ten dimensions, 100 steps, segments of 20; the paper says neither the
batch nor the optimiser's rate. It shows quadratics without preprocessing and scales the output for networks only; here
gradients are preprocessed and outputs scaled by 0.1 on both."""
LEARNED_OPTIMISER_SINE: Settings = {
    **{name: value for name, value in LEARNED_OPTIMISER.items() if name != "start"},
    "env": "metarl/Sine-v0",
    "env_kwargs": {"shots": 50, "queries": 50},
    "policy": "MLP",
    "policy_kwargs": {"hidden": [20], "activation": "tanh", "init": "torch"},
    "meta_batch": 8,
}
"""The same for networks of 61 weights, which learn a sine wave from 50 points; judged by 50 other points."""

PRESETS: Mapping[str, Preset] = {
    "learned-optimiser-quadratics": (
        "an LSTM learns to minimise quadratics, 100 steps (Andrychowicz et al.)",
        LEARNED_OPTIMISER,
    ),
    "learned-optimiser-sine": ("an LSTM learns to train small networks on sine waves", LEARNED_OPTIMISER_SINE),
}
