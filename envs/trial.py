"""Trials: several episodes of one task as one long episode, in which an agent sees what it did and got."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import flatdim, flatten
from gymnasium.utils import RecordConstructorArgs

from metarl.errors import ConfigError, require_whole
from metarl.tasks import Array


class Trial(gym.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Makes one episode of several of the same task, and shows what was done and got at the step before.

    Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", section 2.3. A policy with memory can
    learn within it, of this package or of another: Stable-Baselines3's recurrent algorithms take it as it is.

    An observation is the environment's, flattened, and then the action of the step before (1 at the chosen one if they are
    discrete), its reward, and 1 if it ended an episode; zeros at the start of a trial. The step that ends an episode shows the
    first observation of the next one. ``info["episode_returns"]`` are the returns of the episodes that are over.

    Args:
        env: the environment; a bare ``reset()`` must keep its task.
        episodes: of a trial.

    Raises:
        ConfigError: a count that is not positive, or actions that are neither a box nor discrete.
    """

    def __init__(self, env: gym.Env[Any, Any], episodes: int = 1) -> None:
        RecordConstructorArgs.__init__(self, episodes=episodes)
        gym.Wrapper.__init__(self, env)
        require_whole(episodes=episodes)
        actions = env.action_space
        if not isinstance(actions, (gym.spaces.Box, gym.spaces.Discrete)):
            raise ConfigError(f"env: the action space {actions} is neither Box nor Discrete, and no other is supported")
        self.episodes = episodes
        entries = flatdim(env.observation_space) + flatdim(actions) + 2
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (entries,), np.float32)
        self._returns: list[float] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start a trial, of another task if ``options`` say so."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._returns = [0.0]
        return self._shown(observation, np.zeros(flatdim(self.env.action_space) + 2, np.float32)), info

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Take a step; a new episode starts where one has ended, unless it was the last."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        ended = terminated or truncated
        recalled = np.concatenate([flatten(self.env.action_space, action), [reward, ended]]).astype(np.float32)
        self._returns[-1] += float(reward)
        info = {**info, "episode_returns": self._returns[: None if ended else -1]}
        if ended and len(self._returns) < self.episodes:
            self._returns = [*self._returns, 0.0]
            observation, _ = self.env.reset()
            terminated = truncated = False
        return self._shown(observation, recalled), float(reward), terminated, truncated, info

    def _shown(self, observation: Any, recalled: Array) -> Array:
        flat = np.asarray(flatten(self.env.observation_space, observation), np.float32)
        return np.concatenate([flat, recalled])
