"""Many robots, each with its own task, stepped as one batch on the threads of this process."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray
from torch import Tensor

from metarl.cores import cores
from metarl.envs.locomotion.family import HORIZON, Locomotion, columns
from metarl.envs.locomotion.simulation import Simulation
from metarl.errors import TaskError, require_whole
from metarl.tasks import Array, Split, Task, require_known_options


class LocomotionVector(VectorEnv[Any, Any, Any]):
    """A batch of a locomotion family; each row is what a single environment with its task and seed would be, bit for bit.

    At its surface it is Gymnasium's: numpy arrays, ``reset(options={"task": tasks})`` with one task per sub-environment (or
    one for all), and a row is started anew in the step after its episode's end. Beneath, ``tensor_reset`` and ``tensor_step``
    give tensors of any device, without a new start: rows that have ended cost nothing, and stay where they are.

    Args:
        num_envs: how many robots.
        max_episode_steps: steps after which an episode is truncated.
        device: where the tensors go; MuJoCo computes on the CPU, in float64.
        dtype: of observations and rewards beneath the numpy surface, by name: ``"float32"`` or ``"float64"``.
        threads: how many to step on; None for this process's share of the cores.
        env_kwargs: the other arguments of the family.

    Attributes:
        unstable_episodes: how many episodes have ended because MuJoCo gave the simulation up, since this was made.

    Raises:
        ConfigError: MuJoCo is not installed, or an argument cannot be used.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}
    family: ClassVar[type[Locomotion]]

    def __init__(
        self,
        num_envs: int = 1,
        max_episode_steps: int = HORIZON,
        device: str | torch.device = "cpu",
        dtype: str = "float32",
        threads: int | None = None,
        **env_kwargs: Any,
    ) -> None:
        require_whole(num_envs=num_envs, max_episode_steps=max_episode_steps)
        self.num_envs = num_envs
        self.horizon = max_episode_steps
        self.device = torch.device(device)
        self.dtype: torch.dtype = getattr(torch, dtype)
        self._family = self.family(threads=threads, **env_kwargs)
        self._simulation = Simulation(self.family.robot, threads or cores())
        self.single_observation_space = self._family.observation_space
        self.single_action_space = self._family.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.unstable_episodes = 0
        self._tasks: list[Task] = [self._family.task] * num_envs if self._family.task is not None else []
        self._generators: list[np.random.Generator] = []
        self._states = np.zeros((num_envs, self._simulation.state_size))
        self._forces = np.zeros((num_envs, self._simulation.force_size))
        self._elapsed = np.zeros(num_envs, dtype=np.int64)
        self._ended = np.zeros(num_envs, dtype=bool)

    def sample_tasks(self, n: int, split: Split = "train") -> list[Task]:
        """Draw n tasks, as the single environment does."""
        return self._family.sample_tasks(n, split)

    def tensor_reset(self, tasks: Sequence[Mapping[str, Any]], seeds: Tensor) -> Tensor:
        """Set one task per row and start each with its seed; return observations, shape (num_envs, observation).

        Args:
            tasks: one for each row.
            seeds: whole numbers, shape (num_envs,).

        Raises:
            TaskError: not one task per row, or a task outside the family.
        """
        self._start(tasks, [np_random(int(seed))[0] for seed in seeds.tolist()])
        return self._tensor(self._observe())

    def tensor_step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return observations (num_envs, observation), and rewards, terminated and truncated, each of shape (num_envs,)."""
        array = actions.detach().to("cpu", torch.float64).numpy()
        rewards, terminated, truncated, *_ = self._move(array, ~self._ended)
        self._ended |= terminated | truncated
        ended, cut = (torch.as_tensor(flags, device=self.device) for flags in (terminated, truncated))
        return self._tensor(self._observe()), self._tensor(rewards), ended, cut

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start every row, with the tasks in ``options["task"]`` if given; a single seed gives row i the i-th after it."""
        first = seed if isinstance(seed, int) else None
        require_known_options(options)
        super().reset(seed=first)
        if first is not None:
            self._family.np_random = np_random(first)[0]
        if options and "task" in options:
            one_or_all = options["task"]
            tasks: Sequence[Mapping[str, Any]] = [one_or_all] * self.num_envs if isinstance(one_or_all, Mapping) else one_or_all
        else:
            tasks = self._tasks or self.sample_tasks(self.num_envs)
        seeds: Sequence[int | None] = [None] * self.num_envs
        if seed is not None:
            seeds = [seed + row for row in range(self.num_envs)] if isinstance(seed, int) else seed
        kept: Sequence[np.random.Generator | None] = self._generators or [None] * self.num_envs
        generators = [
            one if number is None and one is not None else np_random(number)[0] for number, one in zip(seeds, kept, strict=True)
        ]
        self._start(tasks, generators)
        return self._observe(), self._info({})

    def step(self, actions: Array) -> tuple[Array, Array, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Move every row; those that ended in the step before start anew instead."""
        fresh = self._ended
        rewards, terminated, truncated, velocity, unstable = self._move(np.asarray(actions, np.float64), ~fresh)
        for row in np.flatnonzero(fresh).tolist():
            self._put_at_start(row)
        self._ended = terminated | truncated
        return self._observe(), rewards, terminated, truncated, self._info({"x_velocity": velocity, "unstable": unstable})

    def reset_rows(self, rows: Sequence[int], tasks: Sequence[Mapping[str, Any]]) -> Array:
        """Start some rows anew at once, each with a task, the others going on; return what all see.

        Args:
            rows: their places.
            tasks: one for each of them.

        Raises:
            TaskError: a task outside the family.
        """
        for row, task in zip(rows, tasks, strict=True):
            self._tasks[row] = self._family.check_task(task)
            self._put_at_start(row)
            self._ended[row] = False
        self._columns = columns(self._tasks)
        self._models = self._simulation.models(self._tasks)
        return self._observe()

    def close_extras(self, **kwargs: Any) -> None:
        """End the threads."""
        self._simulation.close()

    def _start(self, tasks: Sequence[Mapping[str, Any]], generators: list[np.random.Generator]) -> None:
        """Set the tasks, and put every row at a start that its generator draws."""
        if len(tasks) != self.num_envs:
            raise TaskError(f"task: {len(tasks)} tasks were given for {self.num_envs} sub-environments; give one for each")
        checked = {id(task): self._family.check_task(task) for task in tasks}  # a row's task is often the same object
        self._tasks = [checked[id(task)] for task in tasks]
        self._columns = columns(self._tasks)
        self._models = self._simulation.models(self._tasks)
        self._generators = generators
        for row in range(self.num_envs):
            self._put_at_start(row)
        self._ended = np.zeros(self.num_envs, dtype=bool)

    def _put_at_start(self, row: int) -> None:
        self._states[row] = self._simulation.start(self._generators[row])
        self._forces[row] = 0
        self._elapsed[row] = 0

    def _move(self, actions: Array, moving: NDArray[np.bool_]) -> tuple[Array, ...]:
        """Move some rows; return rewards, terminated, truncated, velocities and unstable, each (num_envs,), else 0."""
        rewards, velocity = np.zeros((2, self.num_envs))
        terminated, unstable = np.zeros((2, self.num_envs), dtype=bool)
        rows = np.flatnonzero(moving)
        if len(rows):
            models = self._models if moving.all() else [self._models[row] for row in rows]
            motion = self._simulation.step(models, self._states[rows], self._forces[rows], actions[rows])
            self._states[rows], self._forces[rows] = motion.after, motion.forces
            rewards[rows] = self._family.rewards(motion, {name: column[rows] for name, column in self._columns.items()})
            velocity[rows], unstable[rows] = motion.velocity(), motion.unstable
            terminated[rows] = motion.unstable | self._family.fallen(motion.after)
            self._elapsed[rows] += 1
            self.unstable_episodes += int(motion.unstable.sum())
        return rewards, terminated, moving & (self._elapsed >= self.horizon), velocity, unstable

    def _observe(self) -> Array:
        return self._simulation.observe(self._states, self._forces)

    def _tensor(self, array: Array) -> Tensor:
        return torch.as_tensor(array, device=self.device).to(self.dtype)

    def _info(self, measured: Mapping[str, Array]) -> dict[str, Any]:
        copies = {id(task): {name: value.copy() for name, value in task.items()} for task in self._tasks}
        tasks = np.empty(self.num_envs, dtype=object)
        tasks[:] = [copies[id(task)] for task in self._tasks]
        values = {"task": tasks, **measured}
        return {**values, **{f"_{name}": np.ones(self.num_envs, dtype=bool) for name in values}}
