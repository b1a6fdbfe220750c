"""Sampling trajectories: all tasks and all their trajectories step together, as one batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from metarl import processes
from metarl.errors import NonFiniteError, TaskError
from metarl.sampling.distributions import Distribution

if TYPE_CHECKING:
    from metarl.problems.base import Apply


class TensorVectorEnv(Protocol):
    """What a vector environment offers when it steps on tensors."""

    num_envs: int | None
    """Rows that step together; None if every reset may bring another number of them."""
    horizon: int
    """Steps after which every episode has ended."""
    device: torch.device
    """Where its tensors live."""
    dtype: torch.dtype
    """Of observations and rewards."""

    def tensor_reset(self, tasks: Sequence[Any], seeds: Tensor) -> Tensor:
        """Set one task per row and start; return observations, shape (rows, observation)."""
        ...

    def tensor_step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return observations (rows, observation), and rewards, terminated and truncated, each of shape (rows,).

        Rows whose episodes have ended are stepped on, and may answer anything.
        """
        ...

    def close(self) -> None:
        """Release what the environment holds."""
        ...


class Trajectories(NamedTuple):
    """What was seen, task by task; ``steps`` is the horizon, and ``happened`` tells which steps there were.

    A step that did not happen repeats its trajectory's first, with a reward of zero: whatever an environment says after an
    episode's end is not kept, and a network never meets a number there that no environment gave.

    Attributes:
        observations: before each action, shape (tasks, trajectories, steps, observation).
        actions: shape (tasks, trajectories, steps, action), or without the last axis if discrete.
        rewards: the environment's own, zero after the end, shape (tasks, trajectories, steps).
        happened: whether the episode was still running, shape (tasks, trajectories, steps).
        distribution_parameters: of the distributions that actions were drawn from, shape (tasks, trajectories, steps, size).
        last_observations: after the last action, shape (tasks, trajectories, observation).
        terminated: whether a trajectory ended by itself, and not at a time limit, shape (tasks, trajectories).
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    happened: Tensor
    distribution_parameters: Tensor
    last_observations: Tensor
    terminated: Tensor


def block_size(rows: int, max_envs: int | None) -> int:
    """Return how many rows step at once: the rows in as few blocks as ``max_envs`` allows, of the same size."""
    return rows if max_envs is None else math.ceil(rows / math.ceil(rows / max_envs))


def sample(
    env: TensorVectorEnv,
    apply: Apply,
    distribution: Distribution,
    tasks: Sequence[Any],
    generator: torch.Generator,
    trajectories: int,
    max_envs: int | None = None,
) -> Trajectories:
    """Sample trajectories of every task.

    Args:
        env: steps ``block_size(tasks x trajectories, max_envs)`` rows at once.
        apply: the policies of all tasks: maps observations, shape (tasks, trajectories, observation), and a state, at first (),
            to distribution parameters, shape (tasks, trajectories, size), and the state that is handed in at the next step.
        distribution: what the policy parametrises.
        tasks: this process's tasks.
        generator: the run's; noise is drawn for all processes' tasks and sliced.
        trajectories: how many of each task.
        max_envs: the most rows that may step at once. Noise and seeds belong to the row, so blocks change no result; every
            block applies the policies to all rows, so n blocks cost n times the networks' work.

    Raises:
        TaskError: no tasks.
        NonFiniteError: the environment gave a reward or observation that is not finite.
    """
    if not tasks:
        raise TaskError("tasks=[] is empty: give at least one task")
    count, steps, like = len(tasks), env.horizon, torch.empty(0, device=env.device, dtype=env.dtype)
    noise = processes.draw(lambda n: distribution.noise((n, steps, trajectories), generator, like), count)
    high = 2**31 - 1
    seeds = processes.draw(
        lambda n: torch.randint(high, (n, trajectories), generator=generator, device=generator.device), count
    ).flatten()
    total = count * trajectories
    size = block_size(total, max_envs)
    blocks = []
    for start in range(0, total, size):
        # the last block is filled up with the last row: an environment of fixed size needs it, and a stepper of rows would
        # otherwise close and make environments at every call, to save less than a row for each block
        rows = [min(row, total - 1) for row in range(start, start + size)]
        block = _sample_rows(env, apply, distribution, tasks, noise, seeds, rows)
        blocks.append([column[: total - start] for column in block])
    columns = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    sampled = Trajectories(*(column.view(count, trajectories, *column.shape[1:]) for column in columns))
    _check_finite(sampled, tasks)
    return sampled


def _sample_rows(
    env: TensorVectorEnv,
    apply: Apply,
    distribution: Distribution,
    tasks: Sequence[Any],
    noise: Tensor,
    seeds: Tensor,
    rows: list[int],
) -> Trajectories:
    """Return some rows of tasks x trajectories, the row axis in the place of these two.

    The policy always sees all rows, in the same places, so that its sums are added up in the same order whatever the block;
    where ``rows`` are not all of them, the others show the block's first observation.
    """
    count, steps, trajectories = noise.shape[:3]
    everyone = len(rows) == count * trajectories
    index = torch.tensor(rows, device=env.device)
    place = torch.zeros(count * trajectories, dtype=torch.long, device=env.device)
    place[index] = torch.arange(len(rows), device=env.device)
    state: Any = ()
    with torch.no_grad():
        first = observation = env.tensor_reset([tasks[row // trajectories] for row in rows], seeds[rows])
        running = torch.ones(len(rows), dtype=torch.bool, device=observation.device)
        seen: list[tuple[Tensor, ...]] = []
        for step in range(steps):
            before = torch.where(running[:, None], observation, first)
            shown = before if everyone else before[place]
            distribution_parameters, state = apply(shown.view(count, trajectories, -1), state)
            action = distribution.sample(distribution_parameters, noise[:, step]).flatten(0, 1)
            distribution_parameters = distribution_parameters.flatten(0, 1)
            if not everyone:
                action, distribution_parameters = action[index], distribution_parameters[index]
            observation, reward, terminated, truncated = env.tensor_step(action)
            seen.append((before, action, distribution_parameters, observation, reward, terminated, running))
            running = running & ~(terminated | truncated)
            if observation.device.type == "cpu" and not running.any():
                break
        return _tidy(steps, *(torch.stack(column, dim=1) for column in zip(*seen, strict=True)))


def _tidy(
    steps: int,
    observations: Tensor,
    actions: Tensor,
    distribution_parameters: Tensor,
    following: Tensor,
    rewards: Tensor,
    terminated: Tensor,
    happened: Tensor,
) -> Trajectories:
    """Return what was seen, each of shape (rows, steps until all had ended, ...), as trajectories of ``steps`` steps.

    Always to the horizon, so that every process has as many samples, happened or not.
    """
    missing = (0, steps - happened.shape[1])
    last = following[torch.arange(len(following), device=following.device), happened.sum(1) - 1]
    rewards = torch.where(happened, rewards, 0)
    terminated = (terminated & happened).any(1)
    happened = pad(happened, missing)
    return Trajectories(
        observations=_repeat_first(observations, happened),
        actions=_repeat_first(actions, happened),
        rewards=pad(rewards, missing),
        happened=happened,
        distribution_parameters=_repeat_first(distribution_parameters, happened),
        last_observations=last,
        terminated=terminated,
    )


def _repeat_first(column: Tensor, happened: Tensor) -> Tensor:
    """Return a column of shape (rows, fewer steps, ...) to the horizon, with the first step where none happened."""
    first = column[:, :1]
    column = torch.cat([column, first.expand(-1, happened.shape[1] - column.shape[1], *first.shape[2:])], dim=1)
    return torch.where(happened.view(*happened.shape, *[1] * (column.dim() - 2)), column, first)


def _check_finite(sampled: Trajectories, tasks: Sequence[Any]) -> None:
    for field, value in (("reward", sampled.rewards), ("observation", sampled.observations)):
        require_finite_experience(field, value, tasks)


def require_finite_experience(field: str, value: Tensor, tasks: Sequence[Any]) -> None:
    """Raise NonFiniteError, naming the task, if what environments gave, shape (tasks, ...), is not finite."""
    bad = ~value.flatten(1).isfinite().all(1)
    if processes.mean(bad.any().to(value.dtype)) > 0:  # every process leaves, or all the others would wait for it
        where = repr(tasks[int(bad.nonzero()[0])]) if bad.any() else "of another process"
        raise NonFiniteError(
            f"{field} is not finite in task {where}: the environment or a runaway policy gave inf or nan; "
            "bound the environment's rewards and observations, or use smaller inner rates"
        )
