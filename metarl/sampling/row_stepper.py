"""Environments stepped one after another, as rows of a batch: in this process, or in each worker of a pool.

Knows numpy and gymnasium alone: a worker process starts by importing this.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from metarl.sampling.spaces import flatten


class Steps(NamedTuple):
    """What one step of every row gave.

    Attributes:
        observations: flattened, shape (rows, observation).
        rewards: shape (rows,).
        terminated: shape (rows,).
        truncated: shape (rows,).
    """

    observations: NDArray[Any]
    rewards: NDArray[Any]
    terminated: NDArray[Any]
    truncated: NDArray[Any]


class Copies:
    """Makes an environment anew by its specification, or as a copy of one."""

    def __init__(self, source: EnvSpec | gym.Env[Any, Any]) -> None:
        self.source = source

    def __call__(self) -> gym.Env[Any, Any]:
        """Return one more."""
        return gym.make(self.source) if isinstance(self.source, EnvSpec) else copy.deepcopy(self.source)


class RowStepper:
    """As many copies of one environment as the last reset had tasks.

    Args:
        make: makes one environment.
        entering: is told the row whose environment is about to run code.
    """

    def __init__(self, make: Callable[[], gym.Env[Any, Any]], entering: Callable[[int], object] | None = None) -> None:
        self._make = make
        self._entering = entering or (lambda row: None)
        self._envs: list[gym.Env[Any, Any]] = []
        self._over = np.zeros(0, dtype=bool)
        self._observations: NDArray[Any] = np.zeros((0, 0))

    def reset(self, tasks: Sequence[Any], seeds: Sequence[int]) -> NDArray[Any]:
        """Set one task per row (none where a task is None) and start each with its seed; return flat observations.

        Environments are made where there are too few, and closed where there are too many.
        """
        while len(self._envs) > len(tasks):
            self._envs.pop().close()
        rows = []
        for row, (task, seed) in enumerate(zip(tasks, seeds, strict=True)):
            self._entering(row)
            if row == len(self._envs):
                self._envs.append(self._make())
            env = self._envs[row]
            if task is not None:
                env.set_wrapper_attr("task", task)
            rows.append(flatten(env.observation_space, env.reset(seed=int(seed))[0]))
        self._over = np.zeros(len(tasks), dtype=bool)
        self._observations = np.stack(rows)
        return self._observations.copy()

    def step(self, actions: NDArray[Any]) -> Steps:
        """Step every row whose episode runs; one that has ended stays where it is, with no reward."""
        rewards = np.zeros(len(self._envs))
        terminated, truncated = np.zeros_like(self._over), np.zeros_like(self._over)
        for row in np.flatnonzero(~self._over):
            self._entering(int(row))
            env = self._envs[row]
            observation, reward, terminated[row], truncated[row], _ = env.step(actions[row])
            rewards[row] = float(reward)
            self._observations[row] = flatten(env.observation_space, observation)
        self._over |= terminated | truncated
        return Steps(self._observations.copy(), rewards, terminated, truncated)

    def close(self) -> None:
        """Close every environment."""
        while self._envs:
            self._envs.pop().close()
