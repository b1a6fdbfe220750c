"""Bernoulli bandits: arms that pay with fixed but unknown probabilities, one environment or many at once.

As in Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", section 3.1, and Wang et al.
2016, "Learning to Reinforcement Learn".
"""

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
from metarl.errors import ConfigError, require_whole
from metarl.tasks import Array, Task

PULLS = 20
"""The registered time limit."""


class BernoulliBandit(TaskFamily):
    """Bernoulli bandit: arms that pay 1 with fixed but unknown probabilities.

    ## Observation
    `Box(0, 1, (1,), float32)`: always 1; there is nothing to see.

    ## Action
    `Discrete(arms)`: the arm to pull.

    ## Reward
    1 with the arm's probability, else 0.

    ## End
    Truncated by the time limit: an episode is as many pulls as `gym.make(id, max_episode_steps=...)` says, 20 unless given.
    Never terminated.

    ## Trial
    RL^2's trial of n pulls is one episode of n pulls here, through which a recurrent policy keeps its state. (The paper calls
    each pull an episode; `max_episode_steps=1` and n episodes a trial is that reading, with the same rewards.)

    ## Task
    `{"means": probabilities of shape (arms,)}`, each uniform in [0, 1].

    ## Arguments
    - `task`: the first task; without it the first `reset` draws one.
    - `arms`: how many.
    - `render_mode`: `"rgb_array"`.

    ## Version history
    - v0: the first.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}

    def __init__(self, task: Mapping[str, Any] | None = None, arms: int = 5, render_mode: str | None = None) -> None:
        require_whole(arms=arms)
        if render_mode not in (None, "rgb_array"):
            raise ConfigError(f"render_mode={render_mode!r} must be None or 'rgb_array'")
        self.arms = arms
        self.render_mode = render_mode
        self.observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
        self.action_space = gym.spaces.Discrete(arms)
        self.bounds = {"means": (np.zeros(arms, np.float32), np.ones(arms, np.float32))}
        self._pulls: list[tuple[int, float]] = []
        if task is not None:
            self.task = task

    def draw_tasks(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Draw each arm's probability uniformly; shape (n, arms)."""
        return {"means": rng.uniform(size=(n, self.arms)).astype(np.float32)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start; ``options={"task": task}`` sets the task."""
        super().reset(seed=seed)
        self.take_task(options)
        self._pulls = []
        return np.ones(1, np.float32), {"task": self.task}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Pull an arm."""
        assert self._task is not None, "call reset() before step()"
        reward = float(self.np_random.random() < float(self._task["means"][action]))
        if self.render_mode is not None:
            self._pulls.append((int(action), reward))
        return np.ones(1, np.float32), reward, False, False, {"task": self.task}

    def render(self) -> NDArray[np.uint8] | None:
        """Draw each arm's pulls, how many of them paid, and its probability: an array of shape (300, 400, 3)."""
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render mode: gym.make(id, render_mode='rgb_array')")
            return None
        from matplotlib.figure import Figure

        picture = Figure(figsize=(4, 3), dpi=100, layout="constrained")
        counts, probabilities = picture.subplots(2, sharex=True)
        arms, rewards = (np.array([pull[entry] for pull in self._pulls]) for entry in (0, 1))
        pulled = np.bincount(arms.astype(int), minlength=self.arms)
        counts.bar(range(self.arms), pulled, color="tab:gray", label="pulls")
        counts.bar(range(self.arms), np.bincount(arms.astype(int), rewards, self.arms), color="tab:blue", label="paid")
        counts.set(title=f"pull {len(self._pulls)}, return {rewards.sum():.0f}", ylim=(0, max(5, 1.1 * pulled.max())))
        counts.legend(fontsize="small")
        if self._task is not None:
            probabilities.bar(range(self.arms), self._task["means"], color="tab:red")
        probabilities.set(xlabel="arm", ylabel="probability", ylim=(0, 1), xticks=range(self.arms))
        return pixels(picture)


class BernoulliBanditVector(FamilyVectorEnv):
    """Many bandits, each with its own task, pulled together; a row pays as a single one with its seed does.

    Args:
        num_envs: how many bandits.
        max_episode_steps: pulls of an episode.
        device: where the tensors live.
        dtype: of observations and rewards beneath the numpy surface, by name: ``"float32"`` or ``"float64"``.
        env_kwargs: the arguments of ``BernoulliBandit``.
    """

    family: BernoulliBandit
    numbers_per_step = 1

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int = PULLS,
        device: str | torch.device = "cpu",
        dtype: str = "float32",
        **env_kwargs: Any,
    ) -> None:
        super().__init__(BernoulliBandit(**env_kwargs), num_envs, max_episode_steps, device, dtype)

    def set_tasks(self, tasks: Sequence[Task]) -> None:
        """Keep the probabilities, shape (num_envs, arms)."""
        self._means = torch.as_tensor(np.stack([task["means"] for task in tasks]), device=self.device)

    def draw(self, generator: np.random.Generator, steps: int) -> Array:
        """Return a number in [0, 1) for each step."""
        return generator.random((steps, 1))

    def start_states(self) -> Tensor:
        """Return all that is ever seen: ones, shape (num_envs, 1)."""
        return torch.ones(self.num_envs, 1, dtype=self.dtype, device=self.device)

    def transition(self, states: Tensor, actions: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pull an arm of every row."""
        means = self._means.gather(1, actions[:, None]).to(noise.dtype)
        return states, (noise < means)[:, 0], torch.zeros_like(self._ended)

    def observations(self, states: Tensor) -> Tensor:
        """Return ones."""
        return states
