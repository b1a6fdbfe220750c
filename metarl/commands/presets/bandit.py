"""Bernoulli bandits and random tabular MDPs."""

from collections.abc import Mapping

from metarl.commands.presets.navigation import NAVIGATION_PLAIN
from metarl.commands.settings import Preset, Settings

BANDIT: Settings = {**NAVIGATION_PLAIN, "env": "metarl/BernoulliBandit-v0", "rate": 1.0, "iterations": 50}
TABULAR_MDP: Settings = {**BANDIT, "env": "metarl/TabularMDP-v0"}

PRESETS: Mapping[str, Preset] = {
    "bandit": ("Bernoulli bandits of five arms and twenty pulls", BANDIT),
    "tabular-mdp": ("random MDPs of ten states, five actions and ten steps", TABULAR_MDP),
}
