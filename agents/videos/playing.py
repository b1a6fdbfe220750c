"""One episode of a policy, as it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from metarl.agents.adapted import AdaptedPolicy, RecallingPolicy, ToldPolicy
from metarl.sampling.spaces import flatten
from metarl.sampling.vector import horizon_of
from metarl.tasks import flat_task

if TYPE_CHECKING:
    from metarl.agents.sources import Source

Pixels = NDArray[np.uint8]
FPS = 25
"""Frames of a second, at most: an eye sees no more, and GIFs know none that are much quicker."""
FRAMES = 300
"""Of an episode, about; longer ones have fewer frames a second."""


@dataclass(frozen=True)
class Played:
    """An episode.

    Attributes:
        frames: pictures of shape (height, width, 3): of the start, of every so manieth step, and of the last one.
        returns: the rewards' sum until each of them.
    """

    frames: list[Pixels]
    returns: list[float]


def stride_of(env: gym.Env[Any, Any], source: Source) -> int:
    """Return how many steps one frame is apart from the next, so that videos are neither too quick nor too large."""
    fps: float = env.metadata.get("render_fps", FPS)
    return max(1, ceil(fps / FPS), ceil(horizon_of(source.env) / FRAMES))


def play(policy: AdaptedPolicy, env: gym.Env[Any, Any], task: Any, stride: int, seed: int) -> Played:
    """Let a policy act for an episode, by samples as in training.

    Args:
        policy: acts.
        env: renders arrays.
        task: of the family.
        stride: steps from one frame to the next.
        seed: of the start, of what happens by chance, and of the samples; PyTorch's own stream stays where it is.
    """
    devices = [policy.device] if policy.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        observation, _ = env.reset(seed=seed, options={"task": task})
        seen = _seen(policy, env, task, observation, None, 0.0)
        frames, returns, total, steps, state, ended = [_frame(env)], [0.0], 0.0, 0, None, False
        while not ended:
            action, state = policy.predict(seen, state)
            observation, reward, terminated, truncated, _ = env.step(action)
            total, steps, ended = total + float(reward), steps + 1, terminated or truncated
            seen = _seen(policy, env, task, observation, action, float(reward))
            if ended or steps % stride == 0:
                frames.append(_frame(env))
                returns.append(total)
    return Played(frames, returns)


def _seen(policy: AdaptedPolicy, env: gym.Env[Any, Any], task: Any, observation: Any, action: Any, reward: float) -> Any:
    """Return what a policy sees within an episode: what its wrapper would show."""
    if not isinstance(policy, (RecallingPolicy, ToldPolicy)):
        return observation
    flat = flatten(env.observation_space, observation)
    if isinstance(policy, ToldPolicy):
        return np.concatenate([flat, flat_task(task)]).astype(np.float32)
    actions = env.action_space
    done = np.zeros(gym.spaces.flatdim(actions)) if action is None else gym.spaces.flatten(actions, action)
    return np.concatenate([flat, done, [reward, 0.0]]).astype(np.float32)


def _frame(env: gym.Env[Any, Any]) -> Pixels:
    return np.asarray(env.render(), dtype=np.uint8)
