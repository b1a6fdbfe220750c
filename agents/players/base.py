"""What a reference player is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from metarl.tasks import Task

Knowledge = TypeVar("Knowledge")
Numbers = NDArray[Any]


@dataclass(frozen=True)
class Trials:
    """Trials that are played at once: what a player knows of them before the first step.

    Attributes:
        rows: how many, each with its own task.
        actions: how many there are to choose from: the arms of a bandit.
        states: entries of an observation, which is one-hot.
        horizon: steps of an episode.
        episodes: of a trial, all in the same task.
    """

    rows: int
    actions: int
    states: int
    horizon: int
    episodes: int


class Player(ABC, Generic[Knowledge]):
    """Plays trials of episodes, and learns within each trial, by a rule that nobody trained.

    A player itself is fixed. What it knows of the tasks at hand is made when trials begin, handed in to every call, and
    changed in place.
    """

    entries: ClassVar[tuple[str, ...]] = ()
    """The entries of the tasks that it can play; any if empty."""

    @abstractmethod
    def begin(self, trials: Trials, tasks: Sequence[Task]) -> Knowledge:
        """Return what is known before the first step. Only a player that is told the tasks may look at them."""

    def plan(self, knowledge: Knowledge, generator: np.random.Generator) -> None:
        """Prepare an episode."""

    @abstractmethod
    def act(self, knowledge: Knowledge, observations: Numbers, step: int, generator: np.random.Generator) -> Numbers:
        """Return an action for every row, shape (rows,).

        Args:
            knowledge: of this player.
            observations: shape (rows, states).
            step: of the episode, counted from 0.
            generator: the player's own randomness.
        """

    def learn(
        self, knowledge: Knowledge, observations: Numbers, actions: Numbers, rewards: Numbers, following: Numbers
    ) -> None:
        """Take up a step of every row.

        Args:
            knowledge: of this player.
            observations: before the step, shape (rows, states).
            actions: shape (rows,).
            rewards: shape (rows,).
            following: observations after the step, shape (rows, states).
        """
