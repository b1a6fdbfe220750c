"""What players of tabular MDPs share: beliefs about an MDP, and a policy that is planned for each episode."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metarl.agents.players.base import Numbers, Player, Trials
from metarl.agents.players.planning import plan
from metarl.tasks import Task


@dataclass
class Beliefs:
    """The posterior of every row's MDP, and what is planned.

    Transitions have flat Dirichlet priors. Mean rewards have Normal priors with deviation 1, which the noise has too.

    Attributes:
        visits: 1 and how often each state followed, the parameters of Dirichlet distributions, shape (rows, states, actions,
            states).
        rewards: the sum of rewards, shape (rows, states, actions).
        prior_mean: of the mean rewards.
        horizon: steps of an episode.
        policy: the action by step and state, shape (rows, horizon, states).
    """

    visits: Numbers
    rewards: Numbers
    prior_mean: float
    horizon: int
    policy: Numbers

    @property
    def taken(self) -> Numbers:
        """How often each action was taken, shape (rows, states, actions)."""
        taken: Numbers = self.visits.sum(-1) - self.visits.shape[-1]
        return taken

    @property
    def reward_means(self) -> Numbers:
        """The posterior means of the mean rewards, shape (rows, states, actions)."""
        means: Numbers = (self.prior_mean + self.rewards) / (1 + self.taken)
        return means

    @property
    def reward_deviations(self) -> Numbers:
        """The posterior deviations of the mean rewards, shape (rows, states, actions)."""
        deviations: Numbers = (1 + self.taken) ** -0.5
        return deviations


@dataclass(frozen=True)
class MDPPlayer(Player[Beliefs]):
    """Acts in every episode as is best in one MDP that it has in mind.

    Attributes:
        prior_mean: of the mean rewards. The family's is 1; with 0 what was never tried looks poor.
    """

    prior_mean: float = 1.0

    entries = ("transitions", "rewards")

    def begin(self, trials: Trials, tasks: Sequence[Task]) -> Beliefs:
        """Begin with the prior."""
        rows, states, actions = trials.rows, trials.states, trials.actions
        policy = np.zeros((rows, trials.horizon, states), dtype=np.int64)
        visits, rewards = np.ones((rows, states, actions, states)), np.zeros((rows, states, actions))
        return Beliefs(visits, rewards, self.prior_mean, trials.horizon, policy)

    @abstractmethod
    def imagined(self, beliefs: Beliefs, generator: np.random.Generator) -> tuple[Numbers, Numbers]:
        """Return transitions, shape (rows, states, actions, states), and mean rewards, shape (rows, states, actions)."""

    def plan(self, knowledge: Beliefs, generator: np.random.Generator) -> None:
        """Plan in the MDP in mind."""
        knowledge.policy, _ = plan(*self.imagined(knowledge, generator), knowledge.horizon)

    def act(self, knowledge: Beliefs, observations: Numbers, step: int, generator: np.random.Generator) -> Numbers:
        """Act as planned."""
        actions: Numbers = knowledge.policy[np.arange(len(observations)), step, observations.argmax(1)]
        return actions

    def learn(self, knowledge: Beliefs, observations: Numbers, actions: Numbers, rewards: Numbers, following: Numbers) -> None:
        """Count transitions and rewards."""
        rows, states = np.arange(len(actions)), observations.argmax(1)
        knowledge.visits[rows, states, actions, following.argmax(1)] += 1
        knowledge.rewards[rows, states, actions] += rewards
