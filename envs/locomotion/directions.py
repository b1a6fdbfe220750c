"""Tasks that are a direction: forwards or backwards."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from metarl.envs.locomotion.family import Locomotion
from metarl.errors import TaskError
from metarl.tasks import Array, Task


class Directions(Locomotion):
    """A robot whose task is `{"direction": (1,)}`: 1 or -1."""

    bounds = {"direction": (-np.ones(1, np.float32), np.ones(1, np.float32))}

    def draw_tasks(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Draw either direction with probability one half; shape (n, 1)."""
        return {"direction": rng.choice(np.array([-1, 1], np.float32), (n, 1))}

    def check_task(self, task: Mapping[str, Any]) -> Task:
        """Return the task as float32 arrays.

        Raises:
            TaskError: a missing, unknown, misshapen or out-of-range entry, or a number between the two directions.
        """
        checked = super().check_task(task)
        if abs(checked["direction"][0]) != 1:
            value = checked["direction"].tolist()
            raise TaskError(f"task['direction']={value} is outside {type(self).__name__}: choose from [-1.0] and [1.0]")
        return checked
