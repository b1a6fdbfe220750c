"""A new task at every reset: what one policy for all tasks is trained on, in any library."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from metarl.errors import TaskError
from metarl.tasks import Split, split_index


class NewTask(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Draws a task at every reset, but for one whose ``options`` say which.

    Args:
        env: an environment with tasks.
        split: where they are drawn.

    Raises:
        ConfigError: an unknown split.
        TaskError: an environment without tasks.
    """

    def __init__(self, env: gym.Env[Any, Any], split: Split = "train") -> None:
        RecordConstructorArgs.__init__(self, split=split)
        gym.Wrapper.__init__(self, env)
        split_index(split)
        if not env.has_wrapper_attr("sample_tasks"):
            raise TaskError(f"env={env.unwrapped!r} has no tasks: it needs sample_tasks(n, split); see metarl.envs.TaskAdapter")
        self.split = split

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode of a new task, which a seed fixes."""
        if options and "task" in options:
            return self.env.reset(seed=seed, options=options)
        if seed is not None:
            self.env.reset(seed=seed)
            self.env.unwrapped.np_random = np.random.default_rng(seed)  # how much a reset draws may depend on the past
        (task,) = self.env.get_wrapper_attr("sample_tasks")(1, self.split)
        return self.env.reset(options={**(options or {}), "task": task})
