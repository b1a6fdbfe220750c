"""2D navigation by gradient learners."""

from collections.abc import Mapping

from metarl.commands.settings import Preset, Settings

VARYING = "metarl/Navigation2DVaryingStart-v0"
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
NAVIGATION_PPO: Settings = {
    **NAVIGATION_BEST,
    "agent": "maml",
    "outer": "ppo",
    "ppo.learning_rate": 3e-3,
    "ppo.n_epochs": 5,
    "ppo.minibatches": 4,
    "ppo.clip_range": 0.3,
    "ppo.max_grad_norm": 5.0,
    "promp.learning_rate": 1e-3,
}
"""The same experience and as many environment steps, by first-order steps in place of the natural one; ProMP's rate is its
authors'. Epochs that end at TRPO's KL divergence, with a rate of 0.001, left PPO far behind. Rates stay as they are: a step of
Adam's moves each of them by the same length, whatever its size."""

PRESETS: Mapping[str, Preset] = {
    "navigation": ("2D navigation from the origin (Meta-SGD Table 4, fixed start)", NAVIGATION),
    "navigation-varying-start": ("2D navigation, a start for each task (Meta-SGD Table 4)", {**NAVIGATION, "env": VARYING}),
    "navigation-plain": ("2D navigation, distance reward and normalised advantages (Finn's estimator)", NAVIGATION_PLAIN),
    "navigation-unscaled": ("2D navigation without clip and scale, as Meta-SGD's text has it", NAVIGATION_UNSCALED),
    "navigation-best": ("2D navigation, the best one step can do that we found", NAVIGATION_BEST),
    "navigation-demo": ("a shorter run of navigation-best, for a first look", {**NAVIGATION_BEST, "iterations": 60}),
    "navigation-ppo": ("2D navigation by PPO through the adaptation", NAVIGATION_PPO),
    "navigation-promp": ("2D navigation by ProMP, its authors' settings outside", {**NAVIGATION_PPO, "outer": "promp"}),
    "maml-navigation": (
        "2D navigation as in MAML, Table 4: rate 0.5, then 0.25",
        {**NAVIGATION_PLAIN, "agent": "maml", "rate": (0.5, 0.25)},
    ),
}
