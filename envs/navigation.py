"""A point in the plane, its goal, and many such points at once.

Finn, Abbeel and Levine 2017, section 5.3 and appendix A.2, by the conventions of Finn's code; varying starts as in Li et
al. 2017, "Meta-SGD", section 4.3.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl.envs.drawing import pixels
from metarl.envs.task_family import TaskFamily
from metarl.envs.vector import FamilyVectorEnv
from metarl.errors import ConfigError, require_positive
from metarl.tasks import Array, Task

HALF_SIDE = 0.5
"""Goals and starts are drawn from the square [-0.5, 0.5]^2."""
GOAL_RADIUS = 0.01
"""An episode ends when both coordinates are this near to the goal's."""
_RADIUS = float(np.float32(GOAL_RADIUS))
HORIZON = 100
"""The registered time limit, in steps."""


class Dynamics:
    """The motion, reward and ending of 2D navigation: for any number of points at once as tensors, for one in NumPy.

    The two are one formula. Tensors of two numbers would cost several times the rest of an environment's step, so a single
    point has its own few lines. In float32 both give the same positions and endings, and rewards equal to a rounding.

    Args:
        action_scale: how far an action of 1 moves the point.
        action_limit: actions are clipped to [-action_limit, action_limit] before they are scaled.
    """

    def __init__(self, action_scale: float, action_limit: float) -> None:
        require_positive(action_scale=action_scale, action_limit=action_limit)
        self.action_scale = action_scale
        self.action_limit = action_limit
        self._scale, self._high, self._low = map(np.float32, (action_scale, action_limit, -action_limit))

    def step(self, position: Tensor, action: Tensor, goal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the new positions (..., 2), the rewards (...) and whether the goal is reached (...)."""
        position = position + self.action_scale * action.clamp(-self.action_limit, self.action_limit)
        offset = position - goal
        reward = -(offset * offset).sum(-1).sqrt()
        return position, reward, (offset.abs() < GOAL_RADIUS).all(-1)

    def step_one(self, position: Array, action: Array, goal: Array) -> tuple[Array, float, bool]:
        """Return the new position, shape (2,), the reward and whether the goal is reached, of float32 arrays (2,)."""
        position = position + self._scale * np.minimum(np.maximum(action, self._low), self._high)
        x, y = (position - goal).tolist()
        return position, -math.sqrt(x * x + y * y), abs(x) < _RADIUS and abs(y) < _RADIUS

    def spaces(self) -> tuple[gym.spaces.Box, gym.spaces.Box]:
        """Return the observation and the action space of one environment."""
        reach = HALF_SIDE + HORIZON * self.action_scale * self.action_limit
        observation = gym.spaces.Box(-reach, reach, (2,), np.float32)
        return observation, gym.spaces.Box(-self.action_limit, self.action_limit, (2,), np.float32)


class Navigation2D(TaskFamily):
    """2D navigation: a point must find a goal that only the reward tells of.

    ## Observation
    `Box((2,), float32)`: the position x, y. It starts within the unit square; the bounds are how far 100 steps can carry it.

    ## Action
    `Box(-1, 1, (2,), float32)`: the velocity. It is clipped to the box and multiplied by 0.1, so a step is at most 0.1 along
    each axis (Finn's environment and its normalising wrapper).

    ## Reward
    Minus the Euclidean distance from the new position to the goal; at most 0. (MAML's text says squared; its code and its
    published figures are not.)

    ## Start
    The origin; with ``varying_start`` the task's own start.

    ## End
    Terminated when both coordinates are within 0.01 of the goal's; truncated after 100 steps by the registered time limit.

    ## Task
    `{"goal": (x, y)}`, uniform in [-0.5, 0.5]^2; with ``varying_start`` also `{"start": (x, y)}`, from the same square.

    ## Arguments
    - `task`: the first task; without it the first `reset` draws one.
    - `varying_start`: whether tasks have a start.
    - `action_scale`, `action_limit`: 0.1 and 1. Meta-SGD's text has neither clip nor scale; `action_scale=1,
      action_limit=10` is that reading (a bound of 10 is never met, and keeps the action space finite).
    - `render_mode`: `"rgb_array"` or `"human"`.

    ## Version history
    - v0: the first.
    """

    metadata = {"render_modes": ["rgb_array", "human"], "render_fps": 20}

    def __init__(
        self,
        task: Mapping[str, Any] | None = None,
        varying_start: bool = False,
        action_scale: float = 0.1,
        action_limit: float = 1.0,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise ConfigError(f"render_mode={render_mode!r} must be None, 'rgb_array' or 'human'")
        self.render_mode = render_mode
        self.varying_start = varying_start
        self.dynamics = Dynamics(action_scale, action_limit)
        self.observation_space, self.action_space = self.dynamics.spaces()
        corner = np.full(2, HALF_SIDE, np.float32)
        self.bounds = {name: (-corner, corner) for name in (("goal", "start") if varying_start else ("goal",))}
        self._path: list[Array] = []
        self._picture: Any = None
        if task is not None:
            self.task = task

    def draw_tasks(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Draw goals, and starts if they vary, uniformly from the square; arrays of shape (n, 2)."""
        return {name: rng.uniform(low, high, (n, 2)).astype(np.float32) for name, (low, high) in self.bounds.items()}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Put the point at its start; ``options={"task": task}`` sets the task."""
        super().reset(seed=seed)
        task = self.take_task(options)
        self._path = [task.get("start", np.zeros(2, np.float32)).copy()]
        if self.render_mode == "human":
            self.render()
        return self._path[0].copy(), {"task": self.task}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Move by the scaled, clipped action."""
        assert self._task is not None, "call reset() before step()"
        position, reward, reached = self.dynamics.step_one(self._path[-1], np.asarray(action, np.float32), self._task["goal"])
        self._path.append(position)
        if self.render_mode == "human":
            self.render()
        return position.copy(), reward, reached, False, {"task": self.task}

    def render(self) -> NDArray[np.uint8] | None:
        """Draw the path so far and the goal: an array of shape (400, 400, 3), or a window."""
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render mode: gym.make(id, render_mode='rgb_array')")
            return None
        import matplotlib.pyplot as plt
        from matplotlib.figure import Figure

        if self._picture is None:
            human = self.render_mode == "human"
            self._picture = plt.figure(figsize=(4, 4)) if human else Figure(figsize=(4, 4), dpi=100)
            axes = self._picture.add_axes((0.1, 0.1, 0.85, 0.85), aspect="equal")
            axes.plot([], "-", color="tab:blue", linewidth=1)
            axes.plot([], "o", color="tab:blue", label="point")
            axes.plot([], "*", color="tab:red", markersize=14, label="goal")
        axes = self._picture.axes[0]
        line, point, goal = axes.lines  # new ones for every picture would take twice the time
        path = np.stack(self._path)
        line.set_data(*path.T)
        point.set_data(*path[-1:].T)
        if self._task is not None:
            goal.set_data(*self._task["goal"][None].T)
        side = max(1.2 * HALF_SIDE, float(np.abs(path).max()) * 1.05)
        axes.set(xlim=(-side, side), ylim=(-side, side), title=f"step {len(path) - 1}")
        if self.render_mode == "human":
            plt.pause(1 / self.metadata["render_fps"])
            return None
        return pixels(self._picture)

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._picture is not None and self.render_mode == "human":
            import matplotlib.pyplot as plt

            plt.close(self._picture)
        self._picture = None


class Navigation2DVector(FamilyVectorEnv):
    """Many points, each with its own task, moved as one batch by the same dynamics.

    Args:
        num_envs: how many points.
        max_episode_steps: steps after which an episode is truncated.
        device: where the tensors live.
        dtype: of positions and rewards beneath the numpy surface, by name: ``"float32"`` or ``"float64"``.
        env_kwargs: the arguments of ``Navigation2D``.
    """

    family: Navigation2D

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int = HORIZON,
        device: str | torch.device = "cpu",
        dtype: str = "float32",
        **env_kwargs: Any,
    ) -> None:
        super().__init__(Navigation2D(**env_kwargs), num_envs, max_episode_steps, device, dtype)

    def set_tasks(self, tasks: Sequence[Task]) -> None:
        """Keep the goals and the starts, each of shape (num_envs, 2)."""
        self._goal = self._column(tasks, "goal")
        self._start = self._column(tasks, "start") if self.family.varying_start else torch.zeros_like(self._goal)

    def start_states(self) -> Tensor:
        """Return the starts."""
        return self._start

    def transition(self, states: Tensor, actions: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Move the points."""
        return self.family.dynamics.step(states, actions, self._goal)

    def observations(self, states: Tensor) -> Tensor:
        """Return the positions."""
        return states

    def _column(self, tasks: Sequence[Task], name: str) -> Tensor:
        return torch.as_tensor(np.stack([task[name] for task in tasks]), device=self.device).to(self.dtype)
