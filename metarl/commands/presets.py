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
    "policy_kwargs": {"hidden": 64, "downsampling": "stride"},
    "filters": 32,
    "key_sizes": (64, 64, 64),
    "value_sizes": (32, 32, 32),
    "meta_batch": 4,
    "gradient.learning_rate": 2e-3,
    "gradient.halve_every": 4000,
    "iterations": 16_000,
    "validate_every": 1000,
}
"""A quarter of the channels of the paper, which learned faster in the same time; MAML's strided convolutions."""
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
    "learned-optimiser-quadratics": (
        "an LSTM learns to minimise quadratics, 100 steps (Andrychowicz et al.)",
        LEARNED_OPTIMISER,
    ),
    "learned-optimiser-sine": ("an LSTM learns to train small networks on sine waves", LEARNED_OPTIMISER_SINE),
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
    "protonet-omniglot": (
        "Omniglot, 5-way 1-shot, as in Prototypical Networks: trained with 60 ways (for a GPU)",
        PROTONET_OMNIGLOT,
    ),
    "protonet-omniglot-small": (
        "the same trained with 20 ways, in twenty minutes on two cores",
        PROTONET_OMNIGLOT_SMALL,
    ),
    "mann-omniglot": ("Omniglot as in MANN: ten images of each of 5 classes one after another (for a GPU)", MANN_OMNIGLOT),
    "mann-omniglot-small": ("the same with five images of each, in half an hour on one core", MANN_OMNIGLOT_SMALL),
    "lstm-omniglot": ("MANN's baseline: an LSTM without an external memory (for a GPU)", {**MANN_OMNIGLOT, "agent": "lstm"}),
    "lstm-omniglot-small": ("the same in half an hour on one core", {**MANN_OMNIGLOT_SMALL, "agent": "lstm"}),
    "mann-sine": ("sine waves read point by point into a memory", MANN_SINE),
    "lstm-reader-sine": ("sine waves read point by point by an LSTM", {**MANN_SINE, "agent": "lstm"}),
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
    "snail-omniglot": ("Omniglot, 5-way 1-shot, as in SNAIL (for a GPU)", SNAIL_OMNIGLOT),
    "snail-omniglot-small": ("the same with fewer channels, in half an hour on one core", SNAIL_OMNIGLOT_SMALL),
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
    "lwa-recommendation": (
        "synthetic recommendation: linear weight adaptation",
        {**RECOMMENDATION, "agent": "lwa"},
    ),
    "nlba-recommendation": ("synthetic recommendation: non-linear bias adaptation", RECOMMENDATION),
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
