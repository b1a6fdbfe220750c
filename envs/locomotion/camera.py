"""Pictures of a robot, where a renderer exists."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl.envs.locomotion.robots import Robot
from metarl.envs.locomotion.simulation import mujoco
from metarl.errors import ConfigError
from metarl.opengl import before_opengl
from metarl.tasks import Array

TORSO = 1
"""The body that the camera follows: the first after the world."""
ELEVATION = -20.0
"""Degrees from which it looks down."""


class Camera:
    """Takes pictures of states with MuJoCo's renderer, following the robot.

    Args:
        model: the robot's.
        robot: says where the camera is.
        width: in pixels.
        height: in pixels.

    Raises:
        ConfigError: OpenGL finds no screen, GPU or library to draw with.
    """

    def __init__(self, model: Any, robot: Robot, width: int, height: int) -> None:
        self._mujoco = mujoco()
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, width)
        model.vis.global_.offheight = max(model.vis.global_.offheight, height)
        self._model = model
        self._data = self._mujoco.MjData(model)
        self._view = self._mujoco.MjvCamera()
        self._view.type = self._mujoco.mjtCamera.mjCAMERA_TRACKING
        self._view.trackbodyid, self._view.distance, self._view.elevation = TORSO, robot.camera_distance, ELEVATION
        with drawing(width, height):
            self._renderer = self._mujoco.Renderer(model, height, width)

    def picture(self, state: Array) -> NDArray[np.uint8]:
        """Return the picture of a state, shape (height, width, 3)."""
        self._mujoco.mj_setState(self._model, self._data, state, self._mujoco.mjtState.mjSTATE_FULLPHYSICS)
        self._mujoco.mj_forward(self._model, self._data)
        self._renderer.update_scene(self._data, self._view)
        picture: NDArray[np.uint8] = self._renderer.render()
        return picture

    def close(self) -> None:
        """Let go of the renderer."""
        self._renderer.close()


@contextmanager
def drawing(width: int, height: int) -> Iterator[None]:
    """Say what to install if what is done inside finds nothing to draw pictures of so many pixels with.

    Raises:
        ConfigError: OpenGL finds no screen, GPU or library.
    """
    try:
        _require_context(width, height)
        yield
    except Exception as error:
        backend = os.environ.get("MUJOCO_GL") or "not set"
        raise ConfigError(
            f"render_mode='rgb_array' found no renderer (MUJOCO_GL is {backend}; {type(error).__name__}): install EGL and "
            "set MUJOCO_GL=egl (a GPU, or Mesa without one), or OSMesa and MUJOCO_GL=osmesa (software), before Python starts"
        ) from error


def _require_context(width: int, height: int) -> None:
    """Raise whatever OpenGL raises where there is no context to draw in.

    GLFW only warns that there is no screen, and MuJoCo, going on without one, may end the process.
    """
    before_opengl()
    with warnings.catch_warnings(action="ignore"):
        context = import_module("mujoco.gl_context").GLContext(width, height)
        if not getattr(context, "_context", True):
            raise RuntimeError("there is no screen")
        context.free()
