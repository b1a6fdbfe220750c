"""Bernoulli bandits and random tabular MDPs."""

from collections.abc import Mapping

from metarl.commands.presets.navigation import NAVIGATION_PLAIN
from metarl.commands.settings import Preset, Settings

BANDIT: Settings = {
    **NAVIGATION_PLAIN,
    "env": "metarl/BernoulliBandit-v0",
    "policy_kwargs": {"hidden": [32], "activation": "tanh"},
    "rate": 5.0,
    "iterations": 50,
}
"""A bandit's observation is nought: of rectified units only the last layer's bias would ever learn."""
TABULAR_MDP: Settings = {**NAVIGATION_PLAIN, "env": "metarl/TabularMDP-v0", "rate": 1.0, "iterations": 50}
RL2_BANDIT: Settings = {
    "agent": "rl2",
    "env": "metarl/BernoulliBandit-v0",
    "env_kwargs": {"arms": 5, "max_episode_steps": 10},
    "policy": "MlpPolicy",
    "policy_kwargs": {"hidden": [32]},
    "episodes": 1,
    "hidden": 64,
    "meta_batch": 50,
    "outer": "ppo",
    "ppo.learning_rate": 1e-3,
    "ppo.n_epochs": 5,
    "ppo.minibatches": 2,
    "rollouts.trajectories": 20,
    "rollouts.gae_lambda": 0.3,
    "iterations": 1000,
    "validate_every": 50,
    "validation_tasks": 200,
}
"""Duan et al. 2016, section 3.1 and appendix, with a quarter of the units, PPO where the paper has TRPO, and every task's own
baseline where it has a recurrent one; an iteration is 10,000 steps where it is 250,000."""
RL2_MDP: Settings = {
    **RL2_BANDIT,
    "env": "metarl/TabularMDP-v0",
    "env_kwargs": {},
    "episodes": 10,
    "meta_batch": 20,
    "ppo.learning_rate": 2e-3,
    "rollouts.trajectories": 10,
    "rollouts.gae_lambda": 0.9,
}
"""As on bandits; a lambda of 0.9 lets an action count by what later episodes bring, where the paper has 0.3 and more trials."""
_MANY_TASKS: Settings = {
    "meta_batch": 200,
    "trpo.fisher_fraction": 1.0,
    "trpo.max_kl": 1e-3,
    "validate_every": 50,
    "validation_tasks": 1000,
}
"""A step of TRPO's is as long as its limit, be its direction noise: with 0.01 hundreds of them led back to chance."""
GRADIENT_BANDIT: Settings = {**BANDIT, **_MANY_TASKS}
"""Of gradient learners, for trajectories of one pull: those of five or fifty pulls say little of one task, so many tasks make
an outer step."""
GRADIENT_MDP: Settings = {**TABULAR_MDP, "policy_kwargs": {"hidden": [32]}, **_MANY_TASKS, "validation_tasks": 200}
SNAIL_BANDIT: Settings = {**{name: value for name, value in RL2_BANDIT.items() if name != "hidden"}, "agent": "snail-policy"}
SNAIL_MDP: Settings = {**{name: value for name, value in RL2_MDP.items() if name != "hidden"}, "agent": "snail-policy"}

PRESETS: Mapping[str, Preset] = {
    "bandit": ("Bernoulli bandits of five arms and twenty pulls", BANDIT),
    "rl2-bandit": ("Bernoulli bandits of five arms and ten pulls by RL^2 (for two cores)", RL2_BANDIT),
    "snail-bandit": ("Bernoulli bandits of five arms and ten pulls by SNAIL (for two cores)", SNAIL_BANDIT),
    "rl2-tabular-mdp": ("random MDPs by RL^2, trials of ten episodes (for two cores)", RL2_MDP),
    "snail-tabular-mdp": ("random MDPs by SNAIL, trials of ten episodes (for two cores)", SNAIL_MDP),
    "tabular-mdp": ("random MDPs of ten states, five actions and ten steps", TABULAR_MDP),
}
