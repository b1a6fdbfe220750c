"""The oracle of meta-RL's papers: a policy that is told the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv, VecMonitor
from torch import Tensor

from metarl.agents.maml import MAML
from metarl.agents.pretrained import Pretrained
from metarl.agents.sources import Source, name_of
from metarl.agents.task_vec_env import TaskVecEnv
from metarl.agents.trajectories import TrajectorySource
from metarl.errors import ConfigError
from metarl.problems import PolicyProblem, Problem, Rollouts
from metarl.sampling.trajectories import TensorVectorEnv
from metarl.tasks import flat_task


class Oracle(Pretrained):
    """Trains one policy on all tasks by Stable-Baselines3's PPO, and tells it each; on a new task it takes no steps.

    Finn, Abbeel and Levine 2017, section 5.3: "an oracle policy which receives the task as input". The task's numbers stand
    behind every observation, as in ``metarl.envs.ToldTask``, in which the policy can be used. See ``Agent`` for the arguments.
    """

    @dataclass(frozen=True)
    class Options(MAML.Options):
        """What the oracle takes."""

        inner_steps: int = 0
        """T, inner steps on a task, which the oracle can do without."""

    def make_source(self, rollouts: Rollouts | None) -> Source:
        """Return the family, with tasks told."""
        source = super().make_source(rollouts)
        if not isinstance(source, TrajectorySource):
            raise ConfigError(f"env={name_of(self.env)} has few-shot episodes, and an oracle is told what a policy has to do")
        return ToldSource(self.env, source.rollouts, self.device, getattr(torch, self.options.dtype))

    def get_env(self) -> VecEnv:
        """Return the environment as an SB3 vector environment, with tasks told."""
        if self._vec_env is None:
            self._vec_env = VecMonitor(TaskVecEnv(self.env, 1, told=True))
        return self._vec_env


class ToldSource(TrajectorySource):
    """Policies in a task family whose tasks they are told; see ``TrajectorySource``."""

    tells_task = True

    def __init__(self, env: gym.Env[Any, Any], rollouts: Rollouts, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(env, rollouts, device, dtype)
        self._entries += flat_task(self.sample(1, "train", torch.Generator())[0]).size

    def own_task(self, given: Any) -> tuple[Problem[Any], list[Any]]:
        """Return the problem of the given environment's own task, which it may tell itself."""
        while isinstance(given, gym.Wrapper) and getattr(given, "tells_task", False):
            given = given.env
        return super().own_task(given)

    def _problem(self, env: gym.Env[Any, Any]) -> PolicyProblem:
        problem = super()._problem(env)
        return PolicyProblem(self._distribution, lambda rows: Told(problem._make_env(rows)), self.rollouts)


class Told:
    """A vector environment on tensors whose observations end in the tasks' numbers.

    Args:
        env: the environment.
    """

    def __init__(self, env: TensorVectorEnv) -> None:
        self.num_envs, self.horizon = env.num_envs, env.horizon
        self.device, self.dtype = env.device, env.dtype
        self._env = env
        self._told = torch.zeros(0, 0, device=env.device, dtype=env.dtype)

    @property
    def unstable_episodes(self) -> int | None:
        """How many episodes a simulator gave up; None where that is not counted."""
        count: int | None = getattr(self._env, "unstable_episodes", None)
        return count

    @property
    def succeeded(self) -> Tensor | None:
        """Whether each row's episode has done its task at some step, shape (rows,); None where that is not said."""
        done: Tensor | None = getattr(self._env, "succeeded", None)
        return done

    def tensor_reset(self, tasks: Sequence[Any], seeds: Tensor) -> Tensor:
        """Set one task per row and start; return observations, shape (rows, observation)."""
        numbers = {id(task): flat_task(task) for task in tasks}  # a row's task is often the same object
        self._told = torch.as_tensor(np.stack([numbers[id(task)] for task in tasks]), device=self.device).to(self.dtype)
        return self._shown(self._env.tensor_reset(tasks, seeds))

    def tensor_step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return observations (rows, observation), and rewards, terminated and truncated, each of shape (rows,)."""
        observations, *rest = self._env.tensor_step(actions)
        return self._shown(observations), rest[0], rest[1], rest[2]

    def _shown(self, observations: Tensor) -> Tensor:
        return torch.cat([observations.flatten(1), self._told], dim=1)

    def close(self) -> None:
        """Release what the environment holds."""
        self._env.close()
