"""Observations of any shape as flat vectors, one for each environment."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from metarl.errors import ConfigError

FLAT = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
"""Spaces whose elements have a natural vector: their numbers, or one-hot vectors of their choices."""


def flat_size(space: gym.Space[Any]) -> int:
    """Return how many numbers ``flatten`` makes of an element of the space.

    Raises:
        ConfigError: the space, or a space in it, has no vector of fixed size (text, graphs, sequences, unions).
    """
    _require_flat(space, "")
    return int(spaces.flatdim(space))


def flatten(space: gym.Space[Any], observation: Any) -> NDArray[Any]:
    """Return an element of the space as a vector: a box in row-major order, choices one-hot, dictionaries by sorted key."""
    return np.asarray(spaces.flatten(space, observation))


def _require_flat(space: gym.Space[Any], path: str) -> None:
    if isinstance(space, spaces.Dict):
        for name, part in space.items():
            _require_flat(part, f"{path}[{name!r}]")
    elif isinstance(space, spaces.Tuple):
        for index, part in enumerate(space):
            _require_flat(part, f"{path}[{index}]")
    elif not isinstance(space, FLAT):
        raise ConfigError(
            f"env: observation_space{path}={space} cannot be made a vector of fixed size; "
            f"leave it out, or turn it into a Box with gymnasium.wrappers.TransformObservation"
        )
