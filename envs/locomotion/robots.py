"""The bodies that locomotion families move: Gymnasium's v5 models, their starts and what is observed of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from metarl.tasks import Array, Task

CONTACT_LIMIT = 1.0
"""Contact forces are clipped to plus or minus this, in the observation and in the reward (N and N m)."""

Alter = Callable[[Any, Any, Task], None]
"""Makes of a model that of a task, given the model, Gymnasium's own and the task."""


@dataclass(frozen=True)
class Robot:
    """A model of Gymnasium's version 5 environments, with their conventions.

    A row of ``states`` is MuJoCo's full physics state: the time, the positions and the velocities.

    Attributes:
        xml: the model's file, in Gymnasium's folder of assets.
        frame_skip: simulator steps in an environment's step.
        noise: how far a start is from the model's rest position and from standing still.
        normal_velocities: whether a start's velocities are normal with the deviation ``noise``, not uniform within it.
        hidden_positions: coordinates that the observation leaves out: those along which the robot moves ahead.
        velocity_limit: velocities are clipped to plus or minus this in the observation.
        feels_contacts: whether the observation has the external forces and torques on every body.
        camera_distance: from which pictures are taken, in metres.
        alter: how a task changes the body, if it does.
    """

    xml: str
    frame_skip: int
    noise: float
    normal_velocities: bool
    hidden_positions: int
    velocity_limit: float = np.inf
    feels_contacts: bool = False
    camera_distance: float = 4.0
    alter: Alter | None = None

    def start(self, rest: Array, velocities: int, rng: np.random.Generator) -> Array:
        """Return a state to start in, shape (1 + positions + velocities,).

        Args:
            rest: the model's rest position, shape (positions,).
            velocities: how many there are.
            rng: draws the positions, then the velocities, as Gymnasium's environments do.
        """
        position = rest + rng.uniform(-self.noise, self.noise, len(rest))
        if self.normal_velocities:
            velocity = self.noise * rng.standard_normal(velocities)
        else:
            velocity = rng.uniform(-self.noise, self.noise, velocities)
        return np.concatenate(([0.0], position, velocity))

    def observe(self, states: Array, positions: int, forces: Array) -> Array:
        """Return what is seen in states, shape (rows, observation).

        Args:
            states: shape (rows, state).
            positions: how many entries of a state are positions.
            forces: clipped contact forces of all bodies, the world first, shape (rows, 6 x bodies), or (rows, 0).
        """
        first = 1 + positions
        velocity = states[:, first:]
        if self.velocity_limit < np.inf:
            velocity = velocity.clip(-self.velocity_limit, self.velocity_limit)
        return np.concatenate((states[:, 1 + self.hidden_positions : first], velocity, forces[:, 6:]), axis=1)


HALF_CHEETAH = Robot(
    "half_cheetah.xml",
    frame_skip=5,
    noise=0.1,
    normal_velocities=True,
    hidden_positions=1,
)
ANT = Robot(
    "ant.xml",
    frame_skip=5,
    noise=0.1,
    normal_velocities=True,
    hidden_positions=2,
    feels_contacts=True,
)
HOPPER = Robot(
    "hopper.xml",
    frame_skip=4,
    noise=5e-3,
    normal_velocities=False,
    hidden_positions=1,
    velocity_limit=10.0,
    camera_distance=3.0,
)
WALKER2D = Robot(
    "walker2d_v5.xml",
    frame_skip=4,
    noise=5e-3,
    normal_velocities=False,
    hidden_positions=1,
    velocity_limit=10.0,
)
