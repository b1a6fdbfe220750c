"""Sampling trajectories: all tasks and all their trajectories step together, as one batch."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from metarl import processes
from metarl.errors import NonFiniteError, TaskError
from metarl.learner import Learner
from metarl.problems.distributions import Distribution


class Rollout(NamedTuple):
    """What was seen, task by task; ``steps`` is the horizon, and ``mask`` tells which steps happened.

    Attributes:
        observations: before each action, shape (tasks, trajectories, steps, observation).
        actions: shape (tasks, trajectories, steps, action), or without the last axis if discrete.
        rewards: the environment's own, zero after the end, shape (tasks, trajectories, steps).
        mask: 1 while the episode runs, 0 after its end, shape (tasks, trajectories, steps).
        parameters: the action distributions', shape (tasks, trajectories, steps, parameters).
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    mask: Tensor
    parameters: Tensor


class TensorVectorEnv(Protocol):
    """What a vector environment offers when it steps on tensors; ``num_envs`` rows."""

    num_envs: int
    horizon: int
    """Steps after which every episode has ended."""

    def tensor_reset(self, tasks: Sequence[Any], seeds: Tensor) -> Tensor:
        """Set one task per row and start; return observations, shape (num_envs, observation)."""
        ...

    def tensor_step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return observations (num_envs, observation), rewards (num_envs,) and whether each episode ended (num_envs,)."""
        ...

    def close(self) -> None:
        """Release what the environment holds."""
        ...


class NumpyVectorEnv:
    """Lets any Gymnasium vector environment whose sub-environments have a ``task`` attribute step on tensors.

    Args:
        env: a ``SyncVectorEnv`` or ``AsyncVectorEnv`` (or its like: ``num_envs``, ``set_attr``, ``reset``, ``step``).
        horizon: the longest episode.
        like: a tensor whose device and dtype the observations take.
    """

    def __init__(self, env: Any, horizon: int, like: Tensor) -> None:
        self.env = env
        self.num_envs: int = env.num_envs
        self.horizon = horizon
        self._like = like
        space = env.single_action_space
        self._bounds = (space.low, space.high) if hasattr(space, "low") else None
        self._first = int(getattr(space, "start", 0))

    def _tensor(self, array: Any) -> Tensor:
        return torch.as_tensor(np.asarray(array), device=self._like.device).to(self._like.dtype).flatten(1)

    def tensor_reset(self, tasks: Sequence[Any], seeds: Tensor) -> Tensor:
        """Set one task per sub-environment (none where an environment has no tasks) and start each with its seed."""
        if any(task is not None for task in tasks):
            self.env.set_attr("task", list(tasks))
        observations, _ = self.env.reset(seed=seeds.tolist())
        return self._tensor(observations)

    def tensor_step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step every sub-environment; continuous actions are clipped to the action space."""
        array = actions.cpu().numpy()
        if self._bounds is not None:
            array = array.reshape(self.num_envs, *self._bounds[0].shape).clip(*self._bounds)
        else:
            array = array + self._first
        observations, rewards, terminated, truncated, _ = self.env.step(array)
        done = torch.as_tensor(terminated | truncated, device=self._like.device)
        return self._tensor(observations), self._tensor(np.asarray(rewards)[:, None])[:, 0], done

    def close(self) -> None:
        """Close the sub-environments and end their processes."""
        self.env.close()


def rollout(
    env: TensorVectorEnv,
    learner: Learner,
    distribution: Distribution,
    parameters: Tensor,
    tasks: Sequence[Any],
    generator: torch.Generator,
) -> Rollout:
    """Sample ``num_envs / tasks`` trajectories of every task with its own parameters.

    Args:
        env: steps tasks x trajectories rows at once, those of a task side by side.
        learner: maps observations to distribution parameters.
        distribution: the action distribution.
        parameters: one row of full parameters for each task, shape (tasks, P + S).
        tasks: this process's tasks.
        generator: the run's; noise is drawn for all processes' tasks and sliced.

    Raises:
        TaskError: no tasks.
        NonFiniteError: the environment gave a reward or observation that is not finite.
    """
    if not tasks:
        raise TaskError("tasks=[] is empty: give at least one task")
    count, trajectories, steps = len(tasks), env.num_envs // len(tasks), env.horizon
    noise = processes.draw(lambda n: distribution.noise((n, steps, trajectories), generator, parameters), count)
    high = 2**31 - 1
    seeds = processes.draw(
        lambda n: torch.randint(high, (n, trajectories), generator=generator, device=generator.device), count
    )
    observation = env.tensor_reset([task for task in tasks for _ in range(trajectories)], seeds.flatten())
    running = torch.ones(env.num_envs, dtype=torch.bool, device=observation.device)
    act = torch.vmap(learner)
    seen: list[tuple[Tensor, ...]] = []
    with torch.no_grad():
        for step in range(steps):
            before = observation.view(count, trajectories, -1)
            distribution_parameters = act(parameters, before)
            action = distribution.sample(distribution_parameters, noise[:, step])
            observation, reward, done = env.tensor_step(action.flatten(0, 1))
            alive = running.view(count, trajectories)
            # where, not a product: after the end the environment may say anything, also infinities
            reward = torch.where(alive, reward.view(count, trajectories), 0)
            seen.append((before, action, reward, alive, distribution_parameters))
            running = running & ~done
            if observation.device.type == "cpu" and not running.any():
                break
        columns = (torch.stack(column, dim=2) for column in zip(*seen, strict=True))
        # always to the horizon, so that every process has as many samples, happened or not
        batch = Rollout(*(_pad_steps(column, steps) for column in columns))
    batch = batch._replace(mask=batch.mask.to(batch.rewards.dtype))
    _check_finite(batch, tasks)
    return batch


def _pad_steps(column: Tensor, steps: int) -> Tensor:
    """Return a tensor of shape (tasks, trajectories, fewer steps, ...) with zeros up to ``steps``."""
    missing = steps - column.shape[2]
    if missing == 0:
        return column
    return torch.cat([column, column.new_zeros(*column.shape[:2], missing, *column.shape[3:])], dim=2)


def _check_finite(batch: Rollout, tasks: Sequence[Any]) -> None:
    happened = batch.mask[..., None].bool()
    for field, value in (("reward", batch.rewards), ("observation", torch.where(happened, batch.observations, 0))):
        bad = ~value.flatten(1).isfinite().all(1)
        if processes.mean(bad.any().to(value.dtype)) > 0:  # every process leaves, or all the others would wait for it
            where = repr(tasks[int(bad.nonzero()[0])]) if bad.any() else "of another process"
            raise NonFiniteError(
                f"{field} is not finite in task {where}: the environment or a runaway policy gave inf or nan; "
                "bound the environment's rewards and observations, or use smaller inner rates"
            )
