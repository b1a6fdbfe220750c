"""Vector environments that step on tensors: a family's own, or rows of any Gymnasium environment."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, cast

import gymnasium as gym
import torch
from gymnasium.envs.registration import EnvSpec, load_env_creator
from torch import Tensor

from metarl.cores import cores
from metarl.errors import ConfigError
from metarl.sampling.pool import WorkerPool
from metarl.sampling.row_stepper import SILENT, Copies, RowStepper, Steps
from metarl.sampling.spaces import flat_size
from metarl.sampling.trajectories import TensorVectorEnv
from metarl.tasks import Array

Vectorisation = Literal["auto", "sync", "workers"]


class Stepper(Protocol):
    """What steps rows of environments on numpy arrays: ``RowStepper``, or a ``WorkerPool`` of them."""

    def reset(self, tasks: Sequence[Any], seeds: Sequence[int]) -> Array:
        """Start a row for every task; return observations, shape (rows, observation)."""
        ...

    def step(self, actions: Array) -> Steps:
        """Step the rows."""
        ...

    def close(self) -> None:
        """Close the environments."""
        ...


class SteppedVectorEnv:
    """Rows of Gymnasium environments, stepped on tensors; every reset may bring another number of them.

    Args:
        stepper: steps the environments.
        space: the action space of one; continuous actions are clipped to it.
        horizon: the longest episode.
        like: a tensor whose device and dtype observations and rewards take.

    Attributes:
        succeeded: whether each row's episode has had a step with ``info["success"]``, or ``info["is_success"]``, shape
            (rows,); None if ``info`` does not say.
        unstable_episodes: how many steps had ``info["unstable"]``, since this was made; None if ``info`` does not say.
    """

    num_envs: int | None = None
    succeeded: Tensor | None = None
    unstable_episodes: int | None = None

    def __init__(self, stepper: Stepper, space: gym.Space[Any], horizon: int, like: Tensor) -> None:
        self.horizon = horizon
        self.device, self.dtype = like.device, like.dtype
        self._stepper = stepper
        self._bounds = (space.low, space.high) if isinstance(space, gym.spaces.Box) else None
        self._first = int(getattr(space, "start", 0))

    def _tensor(self, array: Array) -> Tensor:
        return torch.as_tensor(array, device=self.device).to(self.dtype)

    def tensor_reset(self, tasks: Sequence[Any], seeds: Tensor) -> Tensor:
        """Set one task per row (none where an environment has no tasks) and start each with its seed."""
        self.succeeded = None
        return self._tensor(self._stepper.reset(tasks, seeds.tolist()))

    def tensor_step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Step every row whose episode runs."""
        array = actions.cpu().numpy()
        if self._bounds is not None:
            array = array.reshape(len(array), *self._bounds[0].shape).clip(*self._bounds)
        else:
            array = array + self._first
        steps = self._stepper.step(array)
        if (steps.succeeded != SILENT).all():
            self.succeeded = torch.as_tensor(steps.succeeded == 1, device=self.device)
        if (steps.unstable != SILENT).any():
            self.unstable_episodes = (self.unstable_episodes or 0) + int((steps.unstable == 1).sum())
        ended, cut = (torch.as_tensor(flags, device=self.device) for flags in (steps.terminated, steps.truncated))
        return self._tensor(steps.observations), self._tensor(steps.rewards), ended, cut

    def close(self) -> None:
        """Close the environments, and end their processes."""
        self._stepper.close()


def make_vector_env(
    env: gym.Env[Any, Any],
    rows: int,
    like: Tensor,
    vectorisation: Vectorisation = "auto",
    workers: int | None = None,
    worker_timeout: float = 300.0,
) -> TensorVectorEnv:
    """Return a vector environment of copies of ``env``.

    Args:
        env: a registered environment, which is made anew for each row, or any other, which is copied.
        rows: how many step together, if the family has a vector environment of its own; the others take any number.
        like: a tensor whose device and dtype observations and rewards take.
        vectorisation: ``"auto"`` takes the family's own vector environment if it steps on tensors, else ``"sync"``;
            ``"sync"`` steps rows one after another; ``"workers"`` steps them in a pool of processes.
        workers: how many processes; None for one to a core.
        worker_timeout: seconds that a reset or step of a worker's share may take.

    Raises:
        ConfigError: an environment without a time limit, with observations that are no vector, or that cannot be sent to
            other processes.
    """
    env = without_monitors(env)
    flat_size(env.observation_space)
    spec = spec_of(env)
    if vectorisation == "auto" and spec is not None and has_vector_env(spec, "tensor_step"):
        dtype = str(like.dtype).removeprefix("torch.")
        return cast(TensorVectorEnv, gym.make_vec(spec, num_envs=rows, device=like.device, dtype=dtype))
    make = Copies(env if spec is None else spec)
    stepper = WorkerPool(make, workers or cores(), worker_timeout) if vectorisation == "workers" else RowStepper(make)
    return SteppedVectorEnv(stepper, env.action_space, horizon_of(env), like)


def without_monitors(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Return the environment that Stable-Baselines3's monitors, which only watch, are wrapped around."""
    monitors = "stable_baselines3.common.monitor"
    while isinstance(env, gym.Wrapper) and any(base.__module__ == monitors for base in type(env).__mro__):
        env = env.env
    return env


def has_vector_env(spec: EnvSpec, method: str) -> bool:
    """Return whether a family has a vector environment of its own with a method of this name."""
    entry = spec.vector_entry_point
    return hasattr(load_env_creator(entry) if isinstance(entry, str) else entry, method)


def spec_of(env: gym.Env[Any, Any]) -> EnvSpec | None:
    """Return how the environment can be made anew; None if it must be copied."""
    spec = env.spec
    return spec if spec is not None and not spec.additional_wrappers and env.unwrapped is not env else None


def horizon_of(env: gym.Env[Any, Any]) -> int:
    """Return the steps after which an environment's episode has ended.

    Raises:
        ConfigError: it has no time limit.
    """
    horizon: int | None = getattr(env.spec, "max_episode_steps", None)
    if horizon is None and env.has_wrapper_attr("_max_episode_steps"):
        horizon = env.get_wrapper_attr("_max_episode_steps")
    if horizon is None:
        raise ConfigError(
            f"env={env.unwrapped!r} has no time limit, so trajectories might never end: register it with max_episode_steps "
            "or wrap it in gymnasium.wrappers.TimeLimit"
        )
    return horizon
