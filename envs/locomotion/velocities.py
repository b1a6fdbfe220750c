"""Tasks that are a velocity ahead."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from metarl.envs.locomotion.family import Locomotion
from metarl.envs.locomotion.simulation import Motion
from metarl.errors import require_positive
from metarl.tasks import Array


class Velocities(Locomotion):
    """A robot whose task is `{"velocity": (1,)}`, uniform from 0 to the fastest, in m/s.

    Args:
        task: the first task; without it the first `reset` draws one.
        fastest: the fastest task's velocity.
        arguments: see `Locomotion`.
    """

    def __init__(self, task: Mapping[str, Any] | None, fastest: float, **arguments: Any) -> None:
        require_positive(fastest=fastest)
        self.bounds = {"velocity": (np.zeros(1, np.float32), np.full(1, fastest, np.float32))}
        super().__init__(task, **arguments)

    def draw_tasks(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Draw velocities uniformly; shape (n, 1)."""
        return {"velocity": rng.uniform(*self.bounds["velocity"], (n, 1)).astype(np.float32)}

    def off(self, motion: Motion, tasks: Mapping[str, Array]) -> Array:
        """Return how far the velocities along x are from the tasks', shape (rows,)."""
        off: Array = np.abs(motion.velocity() - tasks["velocity"][:, 0])
        return off
