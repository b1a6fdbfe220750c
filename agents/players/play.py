"""Playing trials with a reference player, many at once, in the environments that agents are judged in."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from metarl.agents.judging import EVALUATION_SEED
from metarl.agents.players.base import Player, Trials
from metarl.agents.sources import make_env, name_of
from metarl.errors import ConfigError, TaskError, require_whole
from metarl.sampling.spaces import flat_size
from metarl.sampling.vector import make_vector_env
from metarl.streams import stream
from metarl.tasks import Split, Task

AT_ONCE = 1000
"""Trials that are played together: what a player knows of them stays in a processor's cache."""


@dataclass(frozen=True)
class Played:
    """What was earned.

    Attributes:
        returns: of every episode of every trial, shape (trials, episodes).
    """

    returns: NDArray[np.float64]

    @property
    def totals(self) -> NDArray[np.float64]:
        """The total reward of every trial, shape (trials,)."""
        totals: NDArray[np.float64] = self.returns.sum(1)
        return totals

    @property
    def mean(self) -> float:
        """The mean total reward of a trial."""
        return float(self.totals.mean())

    @property
    def ci95(self) -> float:
        """Half the mean's 95% confidence interval over trials (1.96 standard errors); not a number for a single trial."""
        totals = self.totals
        return float(1.96 * totals.std(ddof=1) / len(totals) ** 0.5) if len(totals) > 1 else float("nan")

    def __str__(self) -> str:
        interval = f" +- {self.ci95:.3f}" if len(self.returns) > 1 else ""
        return f"total reward of {len(self.returns)} trials: {self.mean:.3f}{interval} (mean and 95% confidence interval)"

    def first(self, episodes: int) -> "Played":
        """Return every trial's first episodes."""
        return Played(self.returns[:, :episodes])


def evaluation_tasks(env: gym.Env[Any, Any], n: int, split: Split = "test", seed: int = EVALUATION_SEED) -> list[Task]:
    """Return the tasks that ``agent.evaluate(n, split=split, seed=seed)`` judges an agent on."""
    number = int(torch.randint(2**31 - 1, (), generator=stream(seed, "evaluation tasks")))
    env.reset(seed=number)
    env.unwrapped.np_random = np.random.default_rng(number)
    tasks: list[Task] = env.get_wrapper_attr("sample_tasks")(n, split)
    return tasks


def play(
    player: Player[Any],
    env: str | gym.Env[Any, Any],
    tasks: int | Sequence[Task] = 1000,
    episodes: int = 1,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Played:
    """Let a player play a trial in each task.

    Args:
        player: the player.
        env: a family that it can play, by id or made.
        tasks: one for each trial; or how many, of those that ``agent.evaluate`` judges an agent on.
        episodes: of a trial. Through them the task stays and the player learns on.
        seed: of the rewards' and the player's randomness.
        env_kwargs: arguments of an environment by id, such as ``{"arms": 10, "max_episode_steps": 100}``.

    Raises:
        ConfigError: a family that the player cannot play, or a count out of range.
        TaskError: an episode that ended by itself: players know of time limits only.

    Example:
        >>> round(play(Gittins(), "metarl/BernoulliBandit-v0", tasks=500).mean)  # twenty pulls of five arms
        14
    """
    made = make_env(env, env_kwargs or {})
    try:
        if isinstance(tasks, (int, np.integer)):
            require_whole(tasks=tasks)
            tasks = evaluation_tasks(made, int(tasks))
        require_whole(tasks=len(tasks), episodes=episodes)
        actions = _actions(player, made, tasks[0])
        generator, seeds = np.random.default_rng(seed), stream(seed, "rewards of players")
        parts = [
            _play(player, made, actions, tasks[start : start + AT_ONCE], episodes, generator, seeds)
            for start in range(0, len(tasks), AT_ONCE)
        ]
    finally:
        if made is not env:
            made.close()
    return Played(np.concatenate(parts))


def _actions(player: Player[Any], env: gym.Env[Any, Any], task: Any) -> int:
    """Return how many actions there are to choose from, if the player can play in the environment."""
    wanted, space = list(player.entries), env.action_space
    if not isinstance(space, gym.spaces.Discrete):
        raise ConfigError(f"env={name_of(env)}: players choose among actions, and cannot play in {space}")
    if wanted and (not isinstance(task, Mapping) or sorted(task) != sorted(wanted)):
        entries = sorted(task) if isinstance(task, Mapping) else type(task).__name__
        raise ConfigError(
            f"player={type(player).__name__}() plays families whose tasks have the entries {wanted}; those of "
            f"env={name_of(env)} have {entries}"
        )
    return int(space.n)


def _play(
    player: Player[Any],
    env: gym.Env[Any, Any],
    actions: int,
    tasks: Sequence[Task],
    episodes: int,
    generator: np.random.Generator,
    seeds: torch.Generator,
) -> NDArray[np.float64]:
    """Return the returns of some trials that are played together, shape (tasks, episodes)."""
    rows = len(tasks)
    returns = np.zeros((rows, episodes))
    with closing(make_vector_env(env, rows, torch.empty(0, dtype=torch.float64))) as vector:
        trials = Trials(rows, actions, flat_size(env.observation_space), vector.horizon, episodes)
        knowledge = player.begin(trials, tasks)
        for episode in range(episodes):
            observations = vector.tensor_reset(tasks, torch.randint(2**31 - 1, (rows,), generator=seeds)).numpy()
            player.plan(knowledge, generator)
            for step in range(vector.horizon):
                taken = player.act(knowledge, observations, step, generator)
                following, rewards, terminated, _ = vector.tensor_step(torch.from_numpy(taken))
                if terminated.any():
                    raise TaskError(f"env={name_of(env)} ended an episode by itself: players know of time limits only")
                player.learn(knowledge, observations, taken, rewards.numpy(), following.numpy())
                observations = following.numpy()
                returns[:, episode] += rewards.numpy()
    return returns
