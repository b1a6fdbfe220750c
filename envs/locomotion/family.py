"""What locomotion families have in common: a robot, its tasks, and a reward that a task decides."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from metarl.envs.locomotion.camera import Camera
from metarl.envs.locomotion.robots import Robot
from metarl.envs.locomotion.simulation import Motion, Simulation
from metarl.envs.task_family import TaskFamily
from metarl.errors import ConfigError, require_whole
from metarl.tasks import Array, Task

HORIZON = 200
"""The registered time limit, in steps."""
FARTHEST = 1e10
"""MuJoCo declares a simulation with larger positions or velocities unstable, so no observation exceeds it."""


class Locomotion(TaskFamily):
    """A robot of Gymnasium's version 5 with tasks: one environment, and the formulas that a batch of them uses too.

    A family says its robot, its tasks (``bounds`` and ``draw_tasks``) and its ``rewards``; where episodes end by themselves,
    ``fallen``.

    Args:
        task: the first task; without it the first ``reset`` draws one.
        threads: of the vector environment, which ``gym.make_vec`` makes: every core's unless given. One environment has one.
        render_mode: ``"rgb_array"`` or None.
        width: of pictures, in pixels.
        height: of pictures, in pixels.

    Raises:
        ConfigError: MuJoCo is not installed, or an argument cannot be used.
    """

    robot: ClassVar[Robot]
    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(
        self,
        task: Mapping[str, Any] | None = None,
        threads: int | None = None,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
    ) -> None:
        require_whole(threads=1 if threads is None else threads, width=width, height=height)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f"render_mode={render_mode!r} must be None or 'rgb_array'")
        self.render_mode = render_mode
        self.width, self.height = width, height
        self.simulation = Simulation(self.robot)
        self.unstable_episodes = 0
        self._states = np.zeros((0, 0))
        self._forces = np.zeros((1, self.simulation.force_size))
        self._models: list[Any] = []
        self._columns: dict[str, Array] = {}
        self._prepared: Task | None = None
        self._camera: Camera | None = None
        example = self.simulation.observe(np.zeros((1, self.simulation.state_size)), self._forces)
        self.observation_space = gym.spaces.Box(-FARTHEST, FARTHEST, example.shape[1:], np.float64)
        self.action_space = gym.spaces.Box(self.simulation.low, self.simulation.high, dtype=np.float32)
        if task is not None:
            self.task = task

    @abstractmethod
    def rewards(self, motion: Motion, tasks: Mapping[str, Array]) -> Array:
        """Return the rewards of steps, shape (rows,).

        Args:
            motion: the steps.
            tasks: each entry of the rows' tasks, in float64, shape (rows, ...).
        """

    def fallen(self, states: Array) -> NDArray[np.bool_]:
        """Return whether an episode ends in a state, shape (rows,): it never does."""
        return np.zeros(len(states), dtype=bool)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Put the robot at a random start; ``options={"task": task}`` sets the task."""
        super().reset(seed=seed)
        self.take_task(options)
        self._states = self.simulation.start(self.np_random)[None]
        self._forces = np.zeros_like(self._forces)
        return self.simulation.observe(self._states, self._forces)[0], {"task": self.task}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Move by the clipped action."""
        assert self._task is not None, "call reset() before step()"
        actions = np.asarray(action, dtype=np.float64)[None]
        self._prepare(self._task)
        motion = self.simulation.step(self._models, self._states, self._forces, actions)
        self._states, self._forces = motion.after, motion.forces
        unstable = bool(motion.unstable[0])
        self.unstable_episodes += unstable
        return (
            self.simulation.observe(self._states, self._forces)[0],
            float(self.rewards(motion, self._columns)[0]),
            unstable or bool(self.fallen(self._states)[0]),
            False,
            {"task": self.task, "x_velocity": float(motion.velocity()[0]), "unstable": unstable},
        )

    def _prepare(self, task: Task) -> None:
        """Take on the task in force, if it has been set since the last step."""
        if task is not self._prepared:
            self._models, self._columns, self._prepared = self.simulation.models([task]), columns([task]), task

    def render(self) -> NDArray[np.uint8] | None:
        """Return a picture, shape (height, width, 3).

        Raises:
            ConfigError: there is no renderer.
        """
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render mode: gym.make(id, render_mode='rgb_array')")
            return None
        assert self._task is not None, "call reset() before render()"
        self._prepare(self._task)
        if self._camera is None:
            self._camera = Camera(self._models[0], self.robot, self.width, self.height)
        return self._camera.picture(self._states[0])

    def __getstate__(self) -> dict[str, Any]:
        """Leave the renderer out of copies: its context belongs to this process and thread."""
        return {**self.__dict__, "_camera": None}

    def close(self) -> None:
        """Let go of the renderer."""
        if self._camera is not None:
            self._camera.close()
        self._camera = None


def columns(tasks: list[Task]) -> dict[str, Array]:
    """Return each entry of some tasks as one array, in float64, shape (tasks, ...)."""
    return {name: np.stack([task[name] for task in tasks]).astype(np.float64) for name in tasks[0]}
