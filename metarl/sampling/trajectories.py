"""Sampling trajectories: all tasks and all their trajectories step together, as one batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from metarl import processes
from metarl.errors import NonFiniteError, TaskError
from metarl.sampling.distributions import Distribution

if TYPE_CHECKING:
    from metarl.problems.base import Apply


class TensorVectorEnv(Protocol):
    """What a vector environment offers when it steps on tensors.

    It may also have ``succeeded``: whether each row's episode has done its task at some step, shape (rows,), or None.
    """

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
    """What was seen, task by task; ``steps`` are the horizons of a trial's episodes, and ``happened`` tells which there were.

    A trial is one or more episodes of a task. They follow each other without a gap; what did not happen comes after all.

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
        episode_returns: the undiscounted sum of each episode's rewards, shape (tasks, trajectories, episodes).
        successes: 1 for an episode whose task was done at some step, else 0, of the same shape; no last axis's entries at all
            where the environment does not say.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    happened: Tensor
    distribution_parameters: Tensor
    last_observations: Tensor
    terminated: Tensor
    episode_returns: Tensor
    successes: Tensor


def block_size(rows: int, max_envs: int | None) -> int:
    """Return how many rows step at once: the rows in as few blocks as ``max_envs`` allows, of the same size."""
    return rows if max_envs is None else math.ceil(rows / math.ceil(rows / max_envs))


def recall_size(distribution: Distribution) -> int:
    """Return the entries that a policy sees beside an observation if it is shown what it did before."""
    return distribution.outputs + 2


def sample(
    env: TensorVectorEnv,
    apply: Apply,
    distribution: Distribution,
    tasks: Sequence[Any],
    generator: torch.Generator,
    trajectories: int,
    max_envs: int | None = None,
    episodes: int = 1,
    recall: bool = False,
) -> Trajectories:
    """Sample trajectories of every task.

    Args:
        env: steps ``block_size(tasks x trajectories, max_envs)`` rows at once.
        apply: the policies of all tasks: maps observations, shape (tasks, trajectories, observation), and a state, at first (),
            to distribution parameters, shape (tasks, trajectories, size), and the state that is handed in at the next step,
            whose tensors have the axes (tasks, trajectories, ...).
        distribution: what the policy parametrises.
        tasks: this process's tasks.
        generator: the run's; noise is drawn for all processes' tasks and sliced.
        trajectories: how many of each task.
        max_envs: the most rows that may step at once. Noise and seeds belong to the row, so blocks change no result; every
            block applies the policies to all rows, so n blocks cost n times the networks' work.
        episodes: of a trial, which is one trajectory: the policy's state lasts from one to the next.
        recall: whether an observation ends in ``recall_size`` entries about the step before: its action, its reward, and 1 if
            it ended an episode; zeros at first (Duan et al. 2016, "RL^2", section 2.3).

    Raises:
        TaskError: no tasks.
        NonFiniteError: the environment gave a reward or observation that is not finite.
    """
    if not tasks:
        raise TaskError("tasks=[] is empty: give at least one task")
    count, steps, like = len(tasks), episodes * env.horizon, torch.empty(0, device=env.device, dtype=env.dtype)
    noise = processes.draw(lambda n: distribution.noise((n, steps, trajectories), generator, like), count)
    high = 2**31 - 1
    seeds = processes.draw(
        lambda n: torch.randint(high, (n, episodes, trajectories), generator=generator, device=generator.device), count
    )
    seeds = seeds.transpose(1, 2).flatten(0, 1)
    total = count * trajectories
    size = block_size(total, max_envs)
    blocks = []
    for start in range(0, total, size):
        # the last block is filled up with the last row: an environment of fixed size needs it, and a stepper of rows would
        # otherwise close and make environments at every call, to save less than a row for each block
        rows = [min(row, total - 1) for row in range(start, start + size)]
        block = _sample_rows(env, apply, distribution, tasks, noise, seeds, rows, recall)
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
    recall: bool,
) -> Trajectories:
    """Return some rows of tasks x trajectories, the row axis in the place of these two.

    The policy always sees all rows, in the same places, so that its sums are added up in the same order whatever the block;
    where ``rows`` are not all of them, the others show the block's first observation.
    """
    count, total, trajectories = noise.shape[:3]
    episodes, steps = seeds.shape[1], total // seeds.shape[1]
    everyone = len(rows) == count * trajectories
    index = torch.tensor(rows, device=env.device)
    place = torch.zeros(count * trajectories, dtype=torch.long, device=env.device)
    place[index] = torch.arange(len(rows), device=env.device)
    state: Any = ()
    previous = noise.new_zeros(len(rows), recall_size(distribution) if recall else 0)
    seen: list[tuple[Tensor, ...]] = []
    successes: list[Tensor] = []
    with torch.no_grad():
        for episode in range(episodes):
            first = env.tensor_reset([tasks[row // trajectories] for row in rows], seeds[rows, episode])
            observation = first
            running = torch.ones(len(rows), dtype=torch.bool, device=observation.device)
            for step in range(steps):
                before = torch.cat([torch.where(running[:, None], observation, first), previous.to(first)], dim=1)
                shown = (before if everyone else before[place]).view(count, trajectories, -1)
                distribution_parameters, following_state = apply(shown, state)
                state = _where(running if everyone else running[place], following_state, state, (count, trajectories))
                action = distribution.sample(distribution_parameters, noise[:, episode * steps + step]).flatten(0, 1)
                distribution_parameters = distribution_parameters.flatten(0, 1)
                if not everyone:
                    action, distribution_parameters = action[index], distribution_parameters[index]
                observation, reward, terminated, truncated = env.tensor_step(action)
                ended = terminated | truncated
                if recall:
                    lived = torch.cat([distribution.encode(action).to(reward), reward[:, None], ended[:, None].to(reward)], 1)
                    previous = torch.where(running[:, None], lived, previous)
                following = torch.cat([observation, previous.to(observation)], dim=1)
                seen.append((before, action, distribution_parameters, following, reward, terminated, running))
                running = running & ~ended
                if observation.device.type == "cpu" and not running.any():
                    break
            succeeded: Tensor | None = getattr(env, "succeeded", None)
            if succeeded is not None:
                successes.append(succeeded.to(reward))
            if len(seen) < (episode + 1) * steps:  # all ended early: steps that no row took, up to the next episode's place
                seen += [(*seen[-1][:-1], torch.zeros_like(running))] * ((episode + 1) * steps - len(seen))
        told = torch.stack(successes, dim=1) if successes else reward.new_zeros(len(rows), 0)
        return _tidy(episodes, told, *(torch.stack(column, dim=1) for column in zip(*seen, strict=True)))


def _where(running: Tensor, new: Any, old: Any, shape: tuple[int, int]) -> Any:
    """Return a state that only rows have moved on whose episode is running; there is none to keep before the first step."""
    if old == () or bool(running.all()):
        return new
    kept = running.view(shape)

    def of(new: Tensor, old: Tensor) -> Tensor:  # what a step has written into the old state's own tensors is left there
        return new if new.is_set_to(old) else torch.where(kept.view(*shape, *[1] * (new.dim() - 2)), new, old)

    return tree_map(of, new, old)


def _tidy(
    episodes: int,
    successes: Tensor,
    observations: Tensor,
    actions: Tensor,
    distribution_parameters: Tensor,
    following: Tensor,
    rewards: Tensor,
    terminated: Tensor,
    happened: Tensor,
) -> Trajectories:
    """Return what was seen, each of shape (rows, steps, ...), as trajectories.

    Always to the horizon, so that every process has as many samples, happened or not.
    """
    rewards = torch.where(happened, rewards, 0)
    returns = rewards.view(len(rewards), episodes, -1).sum(2)
    if episodes > 1:
        order = (~happened).long().argsort(dim=1, stable=True)  # no gaps between episodes
        columns = (observations, actions, distribution_parameters, following, rewards, terminated, happened)
        observations, actions, distribution_parameters, following, rewards, terminated, happened = (
            column.gather(1, order.view(*order.shape, *[1] * (column.dim() - 2)).expand_as(column)) for column in columns
        )
    rows, last = torch.arange(len(following), device=following.device), happened.sum(1) - 1
    return Trajectories(
        observations=_repeat_first(observations, happened),
        actions=_repeat_first(actions, happened),
        rewards=rewards,
        happened=happened,
        distribution_parameters=_repeat_first(distribution_parameters, happened),
        last_observations=following[rows, last],
        terminated=terminated[rows, last],
        episode_returns=returns,
        successes=successes,
    )


def _repeat_first(column: Tensor, happened: Tensor) -> Tensor:
    """Return a column of shape (rows, steps, ...) with the first step where none happened."""
    return torch.where(happened.view(*happened.shape, *[1] * (column.dim() - 2)), column, column[:, :1])


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
