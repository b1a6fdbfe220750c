"""The runs that have a name: the papers' rows, and defaults for each world. Data only.

A preset is options by name, as ``metarl train`` takes them: of the run, of agents (``rate``), of outer loops (``trpo.max_kl``,
``gradient.clip_norm``, ``alpha.alpha_hyper``) and of sampling (``rollouts.reward``). It may hold options of several agents and
outer loops; a run takes those that apply to it.
"""

from collections.abc import Mapping
from typing import Any

from metarl.registry import Entry

Settings = Mapping[str, Any]
"""Options by name."""

VARYING = "metarl/Navigation2DVaryingStart-v0"
META_SGD_SINE: Settings = {"frequency": [0.8, 1.2], "phase_sign": 1}

NAVIGATION_PLAIN: Settings = {
    "agent": "meta-sgd",
    "env": "metarl/Navigation2D-v0",
    "policy": "MlpPolicy",
    "rate": 0.1,
    "inner_steps": 1,
    "meta_batch": 20,
    "outer": "trpo",
    "trpo.fisher_fraction": 0.2,
    "alpha.alpha_hyper": 2e-5,
    "iterations": 100,
    "validate_every": 10,
    "validation_tasks": 100,
}
"""2D navigation in Finn's environment with his own estimator: the distance itself, normalised advantages, REINFORCE's loss."""
NAVIGATION: Settings = {
    **NAVIGATION_PLAIN,
    "rate": 0.05,
    "trpo.damping": 0.1,
    "trpo.max_kl": 0.02,
    "rollouts.reward": "squared",
    "rollouts.advantages": "raw",
    "rollouts.inner_loss": "likelihood-ratio",
}
"""What the protocol leaves open was tuned on training tasks; docs/results.md says what was tried: the learner sees the squared
distance, advantages keep their size, and the inner loss is the likelihood ratio's."""
NAVIGATION_UNSCALED: Settings = {
    **NAVIGATION,
    "env_kwargs": {"action_scale": 1.0, "action_limit": 10.0},
    "policy_kwargs": {"log_std": -2.3, "output_gain": 0.1},
    "rate": 0.0005,
}
"""Meta-SGD's text has neither clip nor scale: actions are in units of length, so means and deviation start a tenth as large."""
NAVIGATION_BEST: Settings = {**NAVIGATION, "rollouts.gae_lambda": 0.95}
"""Generalised advantages with lambda 0.95 instead of whole returns: far less variance, and the largest improvement of all."""

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
    "iterations": 3000,
    "validate_every": 0,
}
"""Andrychowicz et al. 2016, section 3.1: quadratics of ten dimensions, 100 steps, segments of 20; the paper says neither the
batch nor the optimiser's rate, and shows quadratics without preprocessing."""
LEARNED_OPTIMISER_SINE: Settings = {
    **{name: value for name, value in LEARNED_OPTIMISER.items() if name != "start"},
    "env": "metarl/Sine-v0",
    "env_kwargs": {"shots": 50, "queries": 50},
    "policy": "MLP",
    "policy_kwargs": {"hidden": [20], "activation": "tanh", "init": "torch"},
    "meta_batch": 8,
}
"""The same for networks of 61 weights, which learn a sine wave from 50 points; judged by 50 other points."""

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
MINIIMAGENET: Settings = {
    **OMNIGLOT,
    "env": "metarl/MiniImageNet-v0",
    "policy_kwargs": {"filters": 32},
    "rate": 0.01,
    "gradient.clip_value": 10.0,
    "meta_batch": 4,
}
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

PRESETS: dict[str, tuple[str, Settings]] = {
    "navigation": ("2D navigation from the origin (Meta-SGD Table 4, fixed start)", NAVIGATION),
    "navigation-varying-start": ("2D navigation, a start for each task (Meta-SGD Table 4)", {**NAVIGATION, "env": VARYING}),
    "navigation-plain": ("2D navigation, distance reward and normalised advantages (Finn's estimator)", NAVIGATION_PLAIN),
    "navigation-unscaled": ("2D navigation without clip and scale, as Meta-SGD's text has it", NAVIGATION_UNSCALED),
    "navigation-best": ("2D navigation, the best one step can do that we found", NAVIGATION_BEST),
    "navigation-demo": ("a shorter run of navigation-best, for a first look", {**NAVIGATION_BEST, "iterations": 60}),
    "maml-navigation": (
        "2D navigation as in MAML, Table 4: rate 0.5, then 0.25",
        {**NAVIGATION_PLAIN, "agent": "maml", "rate": (0.5, 0.25)},
    ),
    "sine": ("sine waves with frequencies (Meta-SGD Table 1, 5-shot)", SINE),
    "maml-sine": ("sine waves as in MAML, Table 2", MAML_SINE),
    "turtle-sine-1": ("sine waves as in TURTLE, 1 inner step", TURTLE_SINE_1),
    "turtle-sine-5": ("sine waves as in TURTLE, 5 inner steps (its best)", TURTLE_SINE),
    "turtle-sine-10": ("sine waves as in TURTLE, 10 inner steps", TURTLE_SINE_10),
    "lstm-sine": ("sine waves with the LSTM meta-learner's settings", LSTM_SINE),
    "lstm2-sine": (
        "sine waves with the enhanced LSTM meta-learner and its 8 inner steps",
        {**LSTM_SINE, "agent": "meta-lstm-2", "inner_steps": 8},
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
    "learned-optimiser-quadratics": (
        "an LSTM learns to minimise quadratics, 100 steps (Andrychowicz et al.)",
        LEARNED_OPTIMISER,
    ),
    "learned-optimiser-sine": ("an LSTM learns to train small networks on sine waves", LEARNED_OPTIMISER_SINE),
    "omniglot": ("Omniglot, 5-way 1-shot, as in Meta-SGD, Table 2 (for a GPU)", OMNIGLOT),
    "omniglot-small": ("Omniglot, 5-way 1-shot, in half an hour on two cores", OMNIGLOT_SMALL),
    "maml-omniglot": (
        "Omniglot, 5-way 1-shot, near to MAML's code: summed loss, one query image of a class, no inner step on batch-norm",
        {
            **OMNIGLOT,
            "agent": "maml",
            "env_kwargs": {"ways": 5, "shots": 1, "queries": 1, "rotations": "drawn", "reduction": "sum over ways"},
            "policy_kwargs": {"downsampling": "stride"},
            "adapted": ("conv*", "head*"),
            "rate": 0.4,
        },
    ),
    "protonet-omniglot": (
        "Omniglot, 5-way 1-shot, as in Prototypical Networks: trained with 60 ways (for a GPU)",
        PROTONET_OMNIGLOT,
    ),
    "protonet-omniglot-small": (
        "the same trained with 20 ways, in twenty minutes on two cores",
        PROTONET_OMNIGLOT_SMALL,
    ),
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
    "bandit": (
        "Bernoulli bandits, through Gymnasium's own vector environment",
        {**NAVIGATION_PLAIN, "env": "metarl/BernoulliBandit-v0", "rate": 1.0, "iterations": 50},
    ),
}
"""One line about each, and its options."""


def entries() -> list[Entry]:
    """Return the registry's entries."""
    return [Entry(name, line, settings) for name, (line, settings) in PRESETS.items()]
