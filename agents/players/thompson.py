"""Thompson sampling for Bernoulli bandits.

Thompson 1933, "On the Likelihood that One Unknown Probability Exceeds Another in View of the Evidence of Two Samples".
"""

from dataclasses import dataclass

import numpy as np

from metarl.agents.players.arms import BanditPlayer, Counts
from metarl.agents.players.base import Numbers


@dataclass(frozen=True)
class Thompson(BanditPlayer):
    """Draws every arm's probability from its posterior, Beta(1 + paid, 1 + failed), and pulls the arm with the highest."""

    def scores(self, counts: Counts, generator: np.random.Generator) -> Numbers:
        """Draw the probabilities."""
        return generator.beta(counts.paid + 1, counts.failed + 1)
