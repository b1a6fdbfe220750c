"""Environments stepped one after another, as rows of a batch: in this process, or in each worker of a pool.

Knows numpy and gymnasium alone: a worker process starts by importing this.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from metarl.sampling.spaces import flatten

SUCCESS = ("success", "is_success")
"""What environments call it in ``info`` that the task is done: Meta-World's name, and Gymnasium-Robotics' and SB3's."""
UNSTABLE = ("unstable",)
"""And that the simulation was given up."""
SILENT = -1
"""Stands for what ``info`` does not say."""


class Steps(NamedTuple):
    """What one step of every row gave.

    Attributes:
        observations: flattened, shape (rows, observation).
        rewards: shape (rows,).
        terminated: shape (rows,).
        truncated: shape (rows,).
        succeeded: 1 if the episode has had a step at which its task was done, 0 if not, -1 if ``info`` does not say; shape
            (rows,).
        unstable: 1 if the simulation was given up in this step, 0 if not, -1 if ``info`` does not say; shape (rows,).
    """

    observations: NDArray[Any]
    rewards: NDArray[Any]
    terminated: NDArray[Any]
    truncated: NDArray[Any]
    succeeded: NDArray[np.int8]
    unstable: NDArray[np.int8]


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
        self._succeeded = np.zeros(0, dtype=np.int8)
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
        self._succeeded = np.full(len(tasks), SILENT, dtype=np.int8)
        self._observations = np.stack(rows)
        return self._observations.copy()

    def step(self, actions: NDArray[Any]) -> Steps:
        """Step every row whose episode runs; one that has ended stays where it is, with no reward."""
        rewards = np.zeros(len(self._envs))
        terminated, truncated = np.zeros_like(self._over), np.zeros_like(self._over)
        unstable = np.full_like(self._succeeded, SILENT)
        for row in np.flatnonzero(~self._over):
            self._entering(int(row))
            env = self._envs[row]
            observation, reward, terminated[row], truncated[row], info = env.step(actions[row])
            self._succeeded[row] = max(self._succeeded[row], _flag(info, SUCCESS))
            unstable[row] = _flag(info, UNSTABLE)
            rewards[row] = float(reward)
            self._observations[row] = flatten(env.observation_space, observation)
        self._over |= terminated | truncated
        return Steps(self._observations.copy(), rewards, terminated, truncated, self._succeeded.copy(), unstable)

    def close(self) -> None:
        """Close every environment."""
        while self._envs:
            self._envs.pop().close()


def _flag(info: Mapping[str, Any], names: Sequence[str]) -> int:
    """Return whether what ``info`` has under the first of the names that it knows is true, as 0 or 1; else ``SILENT``."""
    return next((int(bool(info[name])) for name in names if name in info), SILENT)
