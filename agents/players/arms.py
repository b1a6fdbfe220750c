"""What players of Bernoulli bandits share: counts of what every arm paid, and the choice of the arm with the highest score."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metarl.agents.players.base import Numbers, Player, Trials
from metarl.tasks import Task


@dataclass
class Counts:
    """What was seen of every arm since the trial began.

    Attributes:
        paid: pulls that paid, shape (rows, arms).
        failed: pulls that did not, shape (rows, arms).
        pulls: of a trial.
        made: so far.
    """

    paid: Numbers
    failed: Numbers
    pulls: int
    made: int = 0

    @property
    def mean(self) -> Numbers:
        """The posterior means under a uniform prior, which are those of the counts with one success and one failure more."""
        mean: Numbers = (self.paid + 1) / (self.paid + self.failed + 2)
        return mean


class BanditPlayer(Player[Counts]):
    """Pulls an arm of those with the highest score; which of them is drawn. Arms' probabilities are taken to be uniform."""

    entries = ("means",)

    def begin(self, trials: Trials, tasks: Sequence[Task]) -> Counts:
        """Begin with counts of zero."""
        zeros = np.zeros((trials.rows, trials.actions), dtype=np.int64)
        return Counts(zeros, zeros.copy(), trials.horizon * trials.episodes)

    @abstractmethod
    def scores(self, counts: Counts, generator: np.random.Generator) -> Numbers:
        """Return the score of every arm, shape (rows, arms)."""

    def act(self, knowledge: Counts, observations: Numbers, step: int, generator: np.random.Generator) -> Numbers:
        """Return the arms."""
        scores = self.scores(knowledge, generator)
        highest = scores == scores.max(1, keepdims=True)
        actions: Numbers = np.where(highest, generator.random(scores.shape), -1).argmax(1)
        return actions

    def learn(self, knowledge: Counts, observations: Numbers, actions: Numbers, rewards: Numbers, following: Numbers) -> None:
        """Count."""
        rows = np.arange(len(actions))
        knowledge.paid[rows, actions] += rewards > 0
        knowledge.failed[rows, actions] += rewards <= 0
        knowledge.made += 1
