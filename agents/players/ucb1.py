"""Upper confidence bounds for bandits.

Auer, Cesa-Bianchi and Fischer 2002, "Finite-time Analysis of the Multiarmed Bandit Problem", section 2; with a factor, and
counts that begin with one success and one failure of every arm, as in Duan et al. 2016, "RL^2", section 3.1.
"""

import math
from dataclasses import dataclass

import numpy as np

from metarl.agents.players.arms import BanditPlayer, Counts
from metarl.agents.players.base import Numbers
from metarl.errors import require_between


@dataclass(frozen=True)
class UCB1(BanditPlayer):
    r"""Pulls the arm with the highest $\hat\mu + c \sqrt{2 \ln t / T}$ at the t-th pull.

    Attributes:
        c: the factor. Auer's is 1; a few pulls are far better played with 0.1 or 0.2, and the paper tunes it for each number
            of arms and pulls.

    Raises:
        ConfigError: a negative factor.
    """

    c: float = 1.0

    def __post_init__(self) -> None:
        require_between(0, math.inf, c=self.c)

    def scores(self, counts: Counts, generator: np.random.Generator) -> Numbers:
        """Return the upper bounds."""
        bounds: Numbers = counts.mean + self.c * np.sqrt(2 * math.log(counts.made + 1) / (counts.paid + counts.failed + 2))
        return bounds
