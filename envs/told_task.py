"""The task as a part of what is seen: for players that are told it."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, flatdim, flatten
from gymnasium.utils import RecordConstructorArgs

from metarl.errors import TaskError
from metarl.tasks import Array, flat_task


class ToldTask(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Appends the task's numbers to every observation, which is flattened, in float32.

    Args:
        env: an environment with tasks of numbers, all of one size.

    Raises:
        TaskError: an environment without tasks, or tasks that are not made of numbers.
    """

    tells_task = True
    """That a task is among the observations, for agents that tell it themselves."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        if not env.has_wrapper_attr("sample_tasks"):
            raise TaskError(f"env={env.unwrapped!r} has no tasks: it needs sample_tasks(n, split); see metarl.envs.TaskAdapter")
        (task,) = env.get_wrapper_attr("sample_tasks")(1)
        entries = flatdim(env.observation_space) + flat_task(task).size
        self.observation_space = Box(-np.inf, np.inf, (entries,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode, of another task if ``options`` say so."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._shown(observation), info

    def step(self, action: Any) -> tuple[Array, Any, bool, bool, dict[str, Any]]:
        """Take a step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._shown(observation), reward, terminated, truncated, info

    def _shown(self, observation: Any) -> Array:
        flat = np.asarray(flatten(self.env.observation_space, observation), np.float32)
        return np.concatenate([flat, flat_task(self.env.get_wrapper_attr("task"))])
