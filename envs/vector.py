"""Many environments of one family, each with its own task, stepped as one batch of tensors."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from metarl.envs.task_family import TaskFamily
from metarl.errors import TaskError, require_whole
from metarl.tasks import Array, Split, Task, require_known_options


class FamilyVectorEnv(VectorEnv[Any, Any, Any]):
    """Rows of a family's environments, stepped together.

    At its surface it is Gymnasium's: numpy arrays, ``reset(options={"task": tasks})`` with one task per sub-environment (or
    one for all), and a row is started anew in the step after its episode's end. Beneath, ``tensor_reset`` and ``tensor_step``
    work on tensors of any device, without a new start: rows that have ended may be stepped on, and their rewards ignored.

    A family says what tasks are as tensors (``set_tasks``), where rows start (``start_states``), how they move
    (``transition``) and what is seen (``observations``). Where moves are random, ``numbers_per_step`` and ``draw`` say which
    numbers a step of the single environment takes from its generator; a row takes the same from a generator of its own, so
    that it does what a single environment with its seed does.

    Args:
        family: one environment of the family.
        num_envs: how many rows.
        max_episode_steps: steps after which an episode is truncated.
        device: where the tensors live.
        dtype: of observations and rewards beneath the numpy surface, by name: ``"float32"`` or ``"float64"``.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}
    numbers_per_step: ClassVar[int] = 0

    def __init__(
        self, family: TaskFamily, num_envs: int, max_episode_steps: int, device: str | torch.device, dtype: str
    ) -> None:
        require_whole(num_envs=num_envs, max_episode_steps=max_episode_steps)
        self.num_envs = num_envs
        self.horizon = max_episode_steps
        self.device = torch.device(device)
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.family = family
        self.single_observation_space = family.observation_space
        self.single_action_space = family.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._tasks: list[Task] = [family.task] * num_envs if family.task is not None else []
        self._ended = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        self._generators: list[np.random.Generator] = []
        self._noise = torch.zeros(num_envs, 0, dtype=torch.float64, device=self.device)
        self._rows = torch.arange(num_envs, device=self.device)

    @abstractmethod
    def set_tasks(self, tasks: Sequence[Task]) -> None:
        """Keep the tasks of all rows as tensors."""

    @abstractmethod
    def start_states(self) -> Tensor:
        """Return the states in which episodes start, shape (num_envs, ...)."""

    @abstractmethod
    def transition(self, states: Tensor, actions: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next states, and rewards and whether episodes end by themselves, each of shape (num_envs,).

        Args:
            states: shape (num_envs, ...).
            actions: shape (num_envs,), whole numbers, or (num_envs, action).
            noise: this step's random numbers, float64 of shape (num_envs, numbers_per_step).
        """

    @abstractmethod
    def observations(self, states: Tensor) -> Tensor:
        """Return what is seen of states, shape (num_envs, observation)."""

    def draw(self, generator: np.random.Generator, steps: int) -> Array:
        """Return the numbers of some steps as the single environment draws them, shape (steps, numbers_per_step)."""
        raise NotImplementedError

    def sample_tasks(self, n: int, split: Split = "train") -> list[Task]:
        """Draw n tasks, as the single environment does."""
        return self.family.sample_tasks(n, split)

    def tensor_reset(self, tasks: Sequence[Mapping[str, Any]], seeds: Tensor | None = None) -> Tensor:
        """Set one task per row and start every row; return observations, shape (num_envs, observation).

        Args:
            tasks: one for each row.
            seeds: of the rows' random numbers, shape (num_envs,); each row goes on with its own unless given.

        Raises:
            TaskError: not one task per row, or a task outside the family.
        """
        if len(tasks) != self.num_envs:
            raise TaskError(f"task: {len(tasks)} tasks were given for {self.num_envs} sub-environments; give one for each")
        checked = {id(task): self.family.check_task(task) for task in tasks}  # a row's task is often the same object
        self._tasks = [checked[id(task)] for task in tasks]
        self.set_tasks(self._tasks)
        if self.numbers_per_step:
            if seeds is not None or not self._generators:
                numbers = self.np_random.integers(2**31, size=self.num_envs) if seeds is None else seeds
                self._generators = [seeding.np_random(seed)[0] for seed in numbers.tolist()]
            self._noise = self._tensor(np.stack([self.draw(generator, self.horizon) for generator in self._generators]))
        self._states = self.start_states()
        self._elapsed = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        return self.observations(self._states)

    def tensor_step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return observations (num_envs, observation), and rewards, terminated and truncated, each of shape (num_envs,)."""
        noise = self._noise
        if self.numbers_per_step:
            noise = noise[self._rows, self._elapsed.clamp(max=self.horizon - 1)]
        self._states, rewards, terminated = self.transition(self._states, actions, noise)
        self._elapsed = self._elapsed + 1
        return self.observations(self._states), rewards.to(self.dtype), terminated, self._elapsed >= self.horizon

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start every row, with the tasks in ``options["task"]`` if given; row n takes the seed ``seed + n``."""
        require_known_options(options)
        super().reset(seed=seed)
        self.family.reset(seed=seed)
        if options and "task" in options:
            one_or_all = options["task"]
            tasks: Sequence[Mapping[str, Any]] = [one_or_all] * self.num_envs if isinstance(one_or_all, Mapping) else one_or_all
        else:
            tasks = self._tasks or self.sample_tasks(self.num_envs)
        self.tensor_reset(tasks, None if seed is None else seed + torch.arange(self.num_envs))
        self._ended = torch.zeros_like(self._ended)
        return self._observation(), self._info()

    def step(self, actions: Array) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step every row; those that ended in the step before start anew instead."""
        fresh = self._ended
        kind = torch.long if isinstance(self.single_action_space, gym.spaces.Discrete) else self.dtype
        _, rewards, terminated, truncated = self.tensor_step(torch.as_tensor(np.asarray(actions), device=self.device).to(kind))
        self._start_anew(fresh)
        terminated, truncated = terminated & ~fresh, truncated & ~fresh
        self._ended = terminated | truncated
        return (
            self._observation(),
            torch.where(fresh, 0, rewards).cpu().numpy().astype(np.float64),
            terminated.cpu().numpy(),
            truncated.cpu().numpy(),
            self._info(),
        )

    def reset_rows(self, rows: Sequence[int], tasks: Sequence[Mapping[str, Any]]) -> Array:
        """Start some rows anew at once, each with a task, the others going on; return what all see.

        Args:
            rows: their places.
            tasks: one for each of them.

        Raises:
            TaskError: a task outside the family.
        """
        for row, task in zip(rows, tasks, strict=True):
            self._tasks[row] = self.family.check_task(task)
        self.set_tasks(self._tasks)
        fresh = torch.zeros_like(self._ended)
        fresh[list(rows)] = True
        self._start_anew(fresh)
        self._ended = self._ended & ~fresh
        return self._observation()

    def _start_anew(self, fresh: Tensor) -> None:
        shape = fresh.shape + (1,) * (self._states.dim() - 1)
        self._states = torch.where(fresh.view(shape), self.start_states(), self._states)
        self._elapsed = torch.where(fresh, 0, self._elapsed)
        if self.numbers_per_step:
            for row in fresh.nonzero().flatten().tolist():
                self._noise[row] = self._tensor(self.draw(self._generators[row], self.horizon))

    def _tensor(self, array: Array) -> Tensor:
        return torch.as_tensor(array, device=self.device)

    def _observation(self) -> Array:
        return self.observations(self._states).to("cpu", torch.float32).numpy().copy()

    def _info(self) -> dict[str, Any]:
        tasks = np.empty(self.num_envs, dtype=object)
        tasks[:] = [{name: value.copy() for name, value in task.items()} for task in self._tasks]
        return {"task": tasks, "_task": np.ones(self.num_envs, dtype=bool)}
