"""The player that chooses at random."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metarl.agents.players.base import Numbers, Player, Trials
from metarl.tasks import Task


@dataclass(frozen=True)
class Random(Player[Trials]):
    """Takes every action with the same probability."""

    def begin(self, trials: Trials, tasks: Sequence[Task]) -> Trials:
        """Know nothing."""
        return trials

    def act(self, knowledge: Trials, observations: Numbers, step: int, generator: np.random.Generator) -> Numbers:
        """Draw actions."""
        return generator.integers(knowledge.actions, size=knowledge.rows)
