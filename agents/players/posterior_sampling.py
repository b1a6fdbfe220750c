"""Posterior sampling for tabular MDPs.

Strens 2000, "A Bayesian Framework for Reinforcement Learning"; Osband, Russo and Van Roy 2013, "(More) Efficient
Reinforcement Learning via Posterior Sampling" (PSRL).
"""

from dataclasses import dataclass

import numpy as np

from metarl.agents.players.base import Numbers
from metarl.agents.players.mdps import Beliefs, MDPPlayer


@dataclass(frozen=True)
class PosteriorSampling(MDPPlayer):
    """Draws an MDP from the posterior before every episode, and acts through it as is best there."""

    def imagined(self, beliefs: Beliefs, generator: np.random.Generator) -> tuple[Numbers, Numbers]:
        """Draw transitions from Dirichlet distributions and mean rewards from Normal ones."""
        weights = generator.standard_gamma(beliefs.visits)
        rewards = generator.normal(beliefs.reward_means, beliefs.reward_deviations)
        return weights / weights.sum(-1, keepdims=True), rewards
