"""Greedy play of bandits."""

from dataclasses import dataclass

import numpy as np

from metarl.agents.players.arms import BanditPlayer, Counts
from metarl.agents.players.base import Numbers


@dataclass(frozen=True)
class Greedy(BanditPlayer):
    """Pulls the arm with the highest mean, counted from one success and one failure of every arm, as in RL^2's paper."""

    def scores(self, counts: Counts, generator: np.random.Generator) -> Numbers:
        """Return the means."""
        return counts.mean
