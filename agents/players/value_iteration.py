"""The player that is told the MDP."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metarl.agents.players.base import Numbers, Player, Trials
from metarl.agents.players.planning import plan
from metarl.tasks import Task


@dataclass(frozen=True)
class ValueIteration(Player[Numbers]):
    """Is told its MDP, and acts as is best there from the first step on: an upper bound that no learner reaches.

    What it knows is its policy, the actions by step and state, shape (rows, horizon, states).
    """

    entries = ("transitions", "rewards")

    def begin(self, trials: Trials, tasks: Sequence[Task]) -> Numbers:
        """Plan, once for all episodes."""
        transitions, rewards = (np.stack([task[name] for task in tasks]).astype(np.float64) for name in self.entries)
        policy, _ = plan(transitions, rewards, trials.horizon)
        return policy

    def act(self, knowledge: Numbers, observations: Numbers, step: int, generator: np.random.Generator) -> Numbers:
        """Act as planned."""
        actions: Numbers = knowledge[np.arange(len(observations)), step, observations.argmax(1)]
        return actions
