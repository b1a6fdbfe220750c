"""Greedy play of tabular MDPs."""

from dataclasses import dataclass

import numpy as np

from metarl.agents.players.base import Numbers
from metarl.agents.players.mdps import Beliefs, MDPPlayer


@dataclass(frozen=True)
class CertaintyEquivalent(MDPPlayer):
    """Acts through every episode as is best in the mean of the posterior, as if that were certain: RL^2's greedy player."""

    def imagined(self, beliefs: Beliefs, generator: np.random.Generator) -> tuple[Numbers, Numbers]:
        """Return the means."""
        return beliefs.visits / beliefs.visits.sum(-1, keepdims=True), beliefs.reward_means
