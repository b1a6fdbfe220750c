"""Bernoulli bandits: the smallest task family, with discrete actions and random rewards.

As in Wang et al. 2016, "Learning to Reinforcement Learn", and Duan et al. 2016, "RL^2".
"""

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np

from metarl.envs.task_family import TaskFamily
from metarl.errors import require_positive
from metarl.tasks import Array


class BernoulliBandit(TaskFamily):
    """Bernoulli bandit: arms that pay 1 with fixed but unknown probabilities.

    ## Observation
    `Box(0, 1, (1,), float32)`: always 1; there is nothing to see.

    ## Action
    `Discrete(arms)`: the arm to pull.

    ## Reward
    1 with the arm's probability, else 0.

    ## End
    Truncated by the registered time limit of 20 pulls; never terminated.

    ## Task
    `{"means": probabilities of shape (arms,)}`, each uniform in [0, 1].

    ## Arguments
    - `task`: the first task; without it the first `reset` draws one.
    - `arms`: how many.

    ## Version history
    - v0: the first.
    """

    metadata = {"render_modes": []}

    def __init__(self, task: Mapping[str, Any] | None = None, arms: int = 5) -> None:
        require_positive(arms=arms)
        self.arms = arms
        self.observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(arms)
        self.bounds = {"means": (np.zeros(arms, np.float32), np.ones(arms, np.float32))}
        if task is not None:
            self.task = task

    def draw_tasks(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Draw each arm's probability uniformly; shape (n, arms)."""
        return {"means": rng.uniform(size=(n, self.arms)).astype(np.float32)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start; ``options={"task": task}`` sets the task."""
        super().reset(seed=seed)
        self.take_task(options)
        return np.ones(1, np.float32), {"task": self.task}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Pull an arm."""
        assert self._task is not None, "call reset() before step()"
        reward = float(self.np_random.random() < self._task["means"][action])
        return np.ones(1, np.float32), reward, False, False, {"task": self.task}
