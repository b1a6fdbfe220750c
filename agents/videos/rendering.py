"""An environment that draws itself, asked for before any work is done that the want of one would lose."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from metarl.agents.sources import arguments_of, name_of
from metarl.agents.videos.panels import HEIGHT
from metarl.errors import ConfigError
from metarl.opengl import before_opengl

if TYPE_CHECKING:
    from metarl.agents.base import Agent

MODE = "rgb_array"


@contextmanager
def rendered(agent: Agent, asked: str) -> Iterator[gym.Env[Any, Any]]:
    """Yield an environment like an agent's that renders arrays.

    Args:
        agent: whose environment.
        asked: what an error calls the wish for a video, such as ``"video_every=10"``.

    Raises:
        ConfigError: there is nothing to draw, or nothing to draw with.
    """
    env, made = _drawing(agent, asked)
    try:
        before_opengl()
        try:
            env.reset(seed=0)
            frame = env.render()
        except Exception as error:  # whatever OpenGL's libraries raise
            raise ConfigError(f"{asked}: {name_of(agent.env)} cannot be drawn here: {_remedy(error)}") from error
        if not isinstance(frame, np.ndarray):
            raise ConfigError(f"{asked}: {name_of(agent.env)} renders {type(frame).__name__}, not an array of pixels")
        yield env
    finally:
        if made:
            env.close()


def require_renderer(agent: Agent, asked: str) -> None:
    """Raise ConfigError, naming what was asked for, if an agent's environment cannot be drawn here."""
    with rendered(agent, asked):
        pass


def _drawing(agent: Agent, asked: str) -> tuple[gym.Env[Any, Any], bool]:
    """Return an environment in the mode that renders arrays, and whether it was made for that."""
    name = name_of(agent.env)
    if not agent.adapter.problem.on_policy:
        raise ConfigError(f"{asked}: {name} has few-shot episodes, in which nothing moves; their pictures show what is learned")
    if agent.env.render_mode == MODE:
        return agent.env, False
    modes = agent.env.metadata.get("render_modes") or []
    if MODE not in modes:
        raise ConfigError(f"{asked}: {name} cannot be drawn: its render modes {list(modes)} lack {MODE!r}; ask for no video")
    if agent.env_name is None:
        raise ConfigError(f"{asked}: {name} was made without a renderer: make it with render_mode={MODE!r}")
    return agent.changed_env({"render_mode": MODE, **_small(agent.env)}), True


def _small(env: gym.Env[Any, Any]) -> dict[str, int]:
    """Return the panels' size, for an environment that takes one and was told none: software draws few pixels sooner."""
    if env.spec is None:
        return {}
    known, told = arguments_of(env.spec.id), env.spec.kwargs
    sizes = ("width", "height")
    return dict.fromkeys(sizes, HEIGHT) if all(size in known and size not in told for size in sizes) else {}


def _remedy(error: Exception) -> str:
    """Return what an error says, with a remedy unless it says one."""
    if isinstance(error, ConfigError):
        return str(error)
    said = str(error).strip().splitlines() or ["no reason given"]
    return (
        f"{type(error).__name__}: {said[0]}; install what it draws with (MuJoCo on a machine without a screen: EGL and "
        "MUJOCO_GL=egl, or OSMesa and MUJOCO_GL=osmesa, before Python starts)"
    )
