"""Sine waves, by every learner that takes values."""

from collections.abc import Mapping

from metarl.commands.settings import Preset, Settings

META_SGD_SINE: Settings = {"frequency": [0.8, 1.2], "phase_sign": 1}
SINE: Settings = {
    "agent": "meta-sgd",
    "env": "metarl/Sine-v0",
    "env_kwargs": {**META_SGD_SINE, "shots": 5, "queries": 10},
    "policy": "MLP",
    "rate": 0.05,
    "inner_steps": 1,
    "meta_batch": 4,
    "outer": "gradient_descent",
    # without it one MAML run in twelve lost its ReLUs to a few large meta-gradients at the start and never learned
    "gradient.clip_norm": 1.0,
    "gradient.compile": True,
    "iterations": 60_000,
    "validate_every": 0,
}
MAML_SINE: Settings = {
    **{name: value for name, value in SINE.items() if name != "gradient.clip_norm"},
    "agent": "maml",
    "env_kwargs": {"shots": 10, "queries": 10},
    "rate": 0.01,
    "meta_batch": 25,
    "iterations": 70_000,
}
TURTLE_SINE: Settings = {
    "agent": "turtle",
    "env": "metarl/Sine-v0",
    "env_kwargs": {"shots": 5, "queries": 50, "task_sets": {"train": 70000, "validation": 1000, "test": 2000}},
    "policy": "MLP",
    "policy_kwargs": {"init": "torch"},
    "rate": None,
    "inner_steps": 5,
    "inner_clip": 10.0,
    "meta_batch": 2,
    "outer": "gradient_descent",
    "gradient.clip_task": 10.0,
    "gradient.compile": True,
    "iterations": 35_000,
    "validate_every": 1250,
    "validation_tasks": 1000,
}
"""TURTLE's protocol: fixed sets of tasks, 50 query points, a network with PyTorch's weights and zero biases."""
TURTLE_SINE_1: Settings = {
    **{name: value for name, value in TURTLE_SINE.items() if name not in ("inner_clip", "gradient.clip_task")},
    "inner_steps": 1,
    "meta_batch": 1,
    "iterations": 70_000,
    "validate_every": 2500,
}
TURTLE_SINE_10: Settings = {
    **TURTLE_SINE,
    "beta": 0.3,
    "inner_steps": 10,
    "meta_batch": 4,
    "iterations": 17_500,
    "validate_every": 625,
}
LSTM_SINE: Settings = {
    **{name: value for name, value in TURTLE_SINE.items() if name not in ("inner_clip", "gradient.clip_task")},
    "agent": "meta-lstm",
    "meta_batch": 1,
    "gradient.clip_norm": 0.25,
    "iterations": 70_000,
    "validate_every": 2500,
}
SNAIL_SINE: Settings = {
    **SINE,
    "agent": "snail",
    "env_kwargs": {**META_SGD_SINE, "shots": 5, "queries": 20},
    "policy_kwargs": {"init": "torch", "activation": "tanh"},
    "meta_batch": 16,
    "length": 21,
    "filters": 32,
    "key_sizes": (32, 32),
    "value_sizes": (32, 32),
    "iterations": 20_000,
}
"""The paper has no sine waves: a small one of two attention blocks, which holds up to 20 shots. ReLUs without biases would all
bend at nought, from where both learners start far more slowly than from hyperbolic tangents."""
NEURAL_PROCESS_SINE: Settings = {
    **SINE,
    "agent": "neural-process",
    "env_kwargs": {**META_SGD_SINE, "shots": 5, "queries": 20},
    "policy_kwargs": {"init": "torch", "activation": "tanh"},
    "meta_batch": 16,
    "iterations": 20_000,
}
MANN_SINE: Settings = {
    "agent": "mann",
    "env": "metarl/Sine-v0",
    "env_kwargs": {"shots": 10, "queries": 10},
    "policy": "MLP",
    "policy_kwargs": {"init": "torch"},
    "sharpen": True,
    "start": "associative",
    "reads": 2,
    "meta_batch": 16,
    "outer": "gradient_descent",
    "gradient.learning_rate": 1e-3,
    "gradient.clip_norm": 1.0,
    "iterations": 10_000,
    "validate_every": 0,
}
REPTILE_SINE: Settings = {
    "agent": "maml",
    "env": "metarl/Sine-v0",
    "env_kwargs": {"shots": 50, "queries": 10},
    "policy": "MLP",
    "policy_kwargs": {"hidden": (64, 64), "activation": "tanh", "init": "torch"},
    "rate": 0.02,
    "inner_steps": 5,
    "support_batch": 10,
    "meta_batch": 1,
    "outer": "reptile",
    "reptile.fraction": 0.1,
    "reptile.anneal_over": 30_000,
    "reptile.compile": True,
    "iterations": 30_000,
    "validate_every": 0,
}
"""Reptile's sine waves (section 4.1) as its authors' demonstration has them: 50 points, of which each of five steps of gradient
descent sees ten. They are tested with ten and 32 steps: metarl evaluate RUN --steps 32 --env-kwargs '{"shots": 10}'."""

PRESETS: Mapping[str, Preset] = {
    "sine": ("sine waves with frequencies (Meta-SGD Table 1, 5-shot)", SINE),
    "maml-sine": ("sine waves as in MAML, Table 2", MAML_SINE),
    "reptile-sine": ("sine waves as in Reptile: 50 points, steps on ten of them", REPTILE_SINE),
    "turtle-sine-1": ("sine waves as in TURTLE, 1 inner step", TURTLE_SINE_1),
    "turtle-sine-5": ("sine waves as in TURTLE, 5 inner steps (its best)", TURTLE_SINE),
    "turtle-sine-10": ("sine waves as in TURTLE, 10 inner steps", TURTLE_SINE_10),
    "lstm-sine": ("sine waves with the LSTM meta-learner's settings", LSTM_SINE),
    "lstm2-sine": (
        "sine waves with the enhanced LSTM meta-learner and its 8 inner steps",
        {**LSTM_SINE, "agent": "meta-lstm-2", "inner_steps": 8},
    ),
    "snail-sine": ("sine waves with frequencies (Meta-SGD Table 1, 5-shot) by SNAIL", SNAIL_SINE),
    "neural-process-sine": (
        "sine waves with frequencies (Meta-SGD Table 1, 5-shot) by a conditional neural process",
        NEURAL_PROCESS_SINE,
    ),
    "alpha-maml-sine": (
        "sine waves with Alpha MAML: plain steps, rates that move",
        {
            **MAML_SINE,
            "agent": "alpha-maml",
            "rate": 1e-3,
            "alpha.learning_rate": 1e-5,
            "policy_kwargs": {"init": "torch"},
            "iterations": 5000,
        },
    ),
    "mann-sine": ("sine waves read point by point into a memory", MANN_SINE),
    "lstm-reader-sine": ("sine waves read point by point by an LSTM", {**MANN_SINE, "agent": "lstm"}),
}
