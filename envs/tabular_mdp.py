"""Random tabular MDPs, one environment or many at once.

Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", section 3.2; the prior is that of
Osband, Russo and Van Roy 2013, "(More) Efficient Reinforcement Learning via Posterior Sampling".
"""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from metarl.envs.drawing import pixels
from metarl.envs.task_family import TaskFamily
from metarl.envs.vector import FamilyVectorEnv
from metarl.errors import ConfigError, TaskError, require_whole
from metarl.tasks import Array, Task

HORIZON = 10
"""The registered time limit, in steps."""
SUM_TOLERANCE = 1e-3
"""How far the probabilities of a state and an action may be from a sum of 1."""


def cumulative(transitions: Array) -> Array:
    """Return the cumulative probabilities of next states, the last exactly 1, float64 of the same shape (..., states)."""
    sums: Array = transitions.astype(np.float64).cumsum(-1)
    return sums / sums[..., -1:]


class TabularMDP(TaskFamily):
    """Tabular MDP: a few states and actions, with unknown rewards and transitions.

    ## Observation
    `Box(0, 1, (states,), float32)`: the state, one-hot.

    ## Action
    `Discrete(actions)`.

    ## Reward
    Normal, its mean the task's for the state and the action taken there, its deviation 1.

    ## Start
    The first state.

    ## End
    Truncated after 10 steps by the registered time limit; never terminated.

    ## Task
    `{"transitions": shape (states, actions, states), "rewards": shape (states, actions)}`: the probabilities of the next
    state, from a flat Dirichlet distribution each, and the mean rewards, from Normal(1, 1).

    ## Arguments
    - `task`: the first task; without it the first `reset` draws one.
    - `states`, `actions`: how many; 10 and 5.
    - `render_mode`: `"rgb_array"`.

    ## Version history
    - v0: the first.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(
        self,
        task: Mapping[str, Any] | None = None,
        states: int = 10,
        actions: int = 5,
        render_mode: str | None = None,
    ) -> None:
        require_whole(states=states, actions=actions)
        if render_mode not in (None, "rgb_array"):
            raise ConfigError(f"render_mode={render_mode!r} must be None or 'rgb_array'")
        self.states, self.actions = states, actions
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(0, 1, (states,), np.float32)
        self.action_space = gym.spaces.Discrete(actions)
        transitions, rewards = np.zeros((states, actions, states), np.float32), np.zeros((states, actions), np.float32)
        largest = np.finfo(np.float32).max
        self.bounds = {"transitions": (transitions, transitions + 1), "rewards": (rewards - largest, rewards + largest)}
        self._state, self._steps, self._return = 0, 0, 0.0
        if task is not None:
            self.task = task

    def draw_tasks(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Draw transitions, shape (n, states, actions, states), and mean rewards, shape (n, states, actions)."""
        transitions = rng.dirichlet(np.ones(self.states), (n, self.states, self.actions))
        rewards = rng.normal(1.0, 1.0, (n, self.states, self.actions))
        return {"transitions": transitions.astype(np.float32), "rewards": rewards.astype(np.float32)}

    def check_task(self, task: Mapping[str, Any]) -> Task:
        """Return the task as float32 arrays.

        Raises:
            TaskError: a missing, unknown, misshapen or out-of-range entry, or probabilities whose sum is not 1.
        """
        checked = super().check_task(task)
        sums = checked["transitions"].sum(-1)
        excess = np.abs(sums - 1)
        if excess.max() > SUM_TOLERANCE:
            state, action = np.unravel_index(excess.argmax(), sums.shape)
            raise TaskError(
                f"task['transitions'][{state}, {action}] has the sum {sums[state, action]:g}: the probabilities of next states "
                "must have the sum 1"
            )
        return checked

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start in the first state; ``options={"task": task}`` sets the task."""
        super().reset(seed=seed)
        self.take_task(options)
        self._state, self._steps, self._return = 0, 0, 0.0
        return self._observation(), {"task": self.task}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Take an action."""
        assert self._task is not None, "call reset() before step()"
        uniform, normal = draw(self.np_random)
        reward = float(self._task["rewards"][self._state, action]) + normal
        self._state = int((cumulative(self._task["transitions"][self._state, action]) <= uniform).sum())
        self._steps, self._return = self._steps + 1, self._return + reward
        return self._observation(), reward, False, False, {"task": self.task}

    def _observation(self) -> Array:
        observation = np.zeros(self.states, np.float32)
        observation[self._state] = 1
        return observation

    def render(self) -> NDArray[np.uint8] | None:
        """Draw the mean rewards, with the state in force framed: an array of shape (400, 400, 3)."""
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render mode: gym.make(id, render_mode='rgb_array')")
            return None
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        picture = Figure(figsize=(4, 4), dpi=100, layout="constrained")
        axes = picture.subplots()
        if self._task is not None:
            means = axes.imshow(self._task["rewards"], cmap="coolwarm", aspect="auto")
            picture.colorbar(means, label="mean reward")
        axes.add_patch(Rectangle((-0.5, self._state - 0.5), self.actions, 1, fill=False, edgecolor="black", linewidth=4))
        axes.set(xlabel="action", ylabel="state", xticks=range(self.actions), yticks=range(self.states))
        axes.set_title(f"step {self._steps}, return {self._return:.1f}")
        return pixels(picture)


def draw(generator: np.random.Generator) -> tuple[float, float]:
    """Return what a step takes: a number in [0, 1) for the next state, and a standard normal one for the reward."""
    return generator.random(), generator.standard_normal()


class TabularMDPVector(FamilyVectorEnv):
    """Many MDPs, each with its own task, stepped together; a row does what a single one with its seed does.

    Args:
        num_envs: how many MDPs.
        max_episode_steps: steps after which an episode is truncated.
        device: where the tensors live.
        dtype: of observations and rewards beneath the numpy surface, by name: ``"float32"`` or ``"float64"``.
        env_kwargs: the arguments of ``TabularMDP``.
    """

    family: TabularMDP
    numbers_per_step = 2

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int = HORIZON,
        device: str | torch.device = "cpu",
        dtype: str = "float32",
        **env_kwargs: Any,
    ) -> None:
        super().__init__(TabularMDP(**env_kwargs), num_envs, max_episode_steps, device, dtype)

    def set_tasks(self, tasks: Sequence[Task]) -> None:
        """Keep the tables of the different tasks, and which of them is each row's."""
        different = {id(task): task for task in tasks}
        places = {name: place for place, name in enumerate(different)}
        self._table = torch.tensor([places[id(task)] for task in tasks], device=self.device)
        stacked = {name: np.stack([task[name] for task in different.values()]) for name in ("transitions", "rewards")}
        self._cumulative = torch.as_tensor(cumulative(stacked["transitions"]), device=self.device)
        self._rewards = torch.as_tensor(stacked["rewards"].astype(np.float64), device=self.device)

    def draw(self, generator: np.random.Generator, steps: int) -> Array:
        """Return a uniform and a normal number for each step."""
        return np.array([draw(generator) for _ in range(steps)])

    def start_states(self) -> Tensor:
        """Return the first state of every row, shape (num_envs,)."""
        return torch.zeros(self.num_envs, dtype=torch.long, device=self.device)

    def transition(self, states: Tensor, actions: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take an action in every row."""
        rewards = self._rewards[self._table, states, actions] + noise[:, 1]
        following = (self._cumulative[self._table, states, actions] <= noise[:, :1]).sum(1)
        return following, rewards, torch.zeros_like(self._ended)

    def observations(self, states: Tensor) -> Tensor:
        """Return the states, one-hot."""
        return one_hot(states, self.family.states).to(self.dtype)
