"""Bernoulli bandits."""

from collections.abc import Mapping

from metarl.commands.presets.navigation import NAVIGATION_PLAIN
from metarl.commands.settings import Preset

PRESETS: Mapping[str, Preset] = {
    "bandit": (
        "Bernoulli bandits of five arms and twenty pulls",
        {**NAVIGATION_PLAIN, "env": "metarl/BernoulliBandit-v0", "rate": 1.0, "iterations": 50},
    ),
}
