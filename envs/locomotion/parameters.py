"""Hoppers and walkers whose bodies differ from task to task: masses, damping and friction.

The families of Rothfuss et al. 2019, "ProMP: Proximal Meta-Policy Search", by the distributions of their
code (rand_param_envs).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metarl.envs.locomotion.family import Locomotion
from metarl.envs.locomotion.robots import HOPPER, WALKER2D
from metarl.envs.locomotion.simulation import Motion
from metarl.envs.locomotion.vector import LocomotionVector
from metarl.tasks import Array, Task

CONTROL_COST = 1e-3
ALIVE = 1.0
"""What a step pays in which the robot is upright."""
ROOT = 3
"""Degrees of freedom of the torso, which no joint damps: x, z and the angle."""
EXPONENT = 3.0
BASES = {"masses": 1.5, "damping": 1.3, "friction": 1.5}
"""An entry of a task is its base to a power that is uniform within plus or minus ``EXPONENT``."""


def alter(model: Any, original: Any, task: Task) -> None:
    """Make of a model the one of a task; a body's inertia goes with its mass, as if its density had changed."""
    masses = task["masses"].astype(np.float64)
    model.body_mass[1:] = original.body_mass[1:] * masses
    model.body_inertia[1:] = original.body_inertia[1:] * masses[:, None]
    model.dof_damping[ROOT:] = original.dof_damping[ROOT:] * task["damping"].astype(np.float64)
    model.geom_friction[:] = original.geom_friction * task["friction"].astype(np.float64)[:, None]


class Parameters(Locomotion):
    """A robot that must move ahead, whatever its body; a task multiplies the model's own masses, damping and friction."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 125}
    bodies: ClassVar[int]
    joints: ClassVar[int]

    def __init__(self, task: Mapping[str, Any] | None = None, **arguments: Any) -> None:
        sizes = {"masses": self.bodies, "damping": self.joints, "friction": self.bodies + 1}
        most = {name: np.full(sizes[name], base**EXPONENT, np.float32) for name, base in BASES.items()}
        self.bounds = {name: (1 / high, high) for name, high in most.items()}
        super().__init__(task, **arguments)

    def draw_tasks(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Draw powers uniformly; shapes (n, bodies), (n, joints) and (n, 1 + bodies)."""
        drawn = {}
        for name, (low, high) in self.bounds.items():
            factors = BASES[name] ** rng.uniform(-EXPONENT, EXPONENT, (n, len(low)))
            drawn[name] = factors.astype(np.float32).clip(low, high)
        return drawn

    def rewards(self, motion: Motion, tasks: Mapping[str, Array]) -> Array:
        """Return the rewards, shape (rows,)."""
        cost: Array = CONTROL_COST * (motion.actions**2).sum(1)
        alive: Array = ALIVE * ~self.fallen(motion.after)
        return motion.velocity() + alive - cost


class HopperParameters(Parameters):
    """A hopper whose masses, damping and friction are the task.

    ## Observation
    `Box(-1e10, 1e10, (11,), float64)`: Gymnasium's `Hopper-v5`: positions without x (5), then velocities, clipped to plus or
    minus 10 (6).

    ## Action
    `Box(-1, 1, (3,), float32)`: torques, clipped to the box.

    ## Reward
    `Hopper-v5`'s: the velocity along x (m/s), and 1 while it is upright, less 0.001 times the sum of squared actions.

    ## Start
    As `Hopper-v5`'s: positions and velocities uniform within 0.005 of rest.

    ## End
    Terminated when the height is 0.7 m or less, the angle 0.2 rad or more, or a position (but x and z) or velocity 100 or more,
    or if the simulation becomes unstable; truncated after 200 steps by the registered time limit.

    ## Task
    Factors of the model's own: `{"masses": (4,), "damping": (3,), "friction": (5,)}` of the bodies, of the joints, and of the
    floor and the bodies. Masses and friction are 1.5 to a power uniform in [-3, 3], damping 1.3 to one.

    ## Arguments
    - `task`: the first task; without it the first `reset` draws one.
    - `threads`: of the vector environment; a core each unless given.
    - `render_mode`, `width`, `height`: `"rgb_array"`, and the pictures' size in pixels.

    ## Version history
    - v0: the first. ProMP draws inertias apart from masses, and each of friction's three coefficients by itself.
    """

    robot = replace(HOPPER, alter=alter)
    bodies = 4
    joints = 3

    def fallen(self, states: Array) -> NDArray[np.bool_]:
        """Return whether the hopper is not upright, shape (rows,)."""
        height, angle = states[:, 2], states[:, 3]
        return ~((height > 0.7) & (np.abs(angle) < 0.2) & (np.abs(states[:, 3:]) < 100).all(1))


class Walker2DParameters(Parameters):
    """A two-legged walker whose masses, damping and friction are the task.

    ## Observation
    `Box(-1e10, 1e10, (17,), float64)`: Gymnasium's `Walker2d-v5`: positions without x (8), then velocities, clipped to plus or
    minus 10 (9).

    ## Action
    `Box(-1, 1, (6,), float32)`: torques, clipped to the box.

    ## Reward, start, arguments
    As `HopperParameters`'s, which are `Walker2d-v5`'s too.

    ## End
    Terminated when the height leaves (0.8, 2) m or the angle (-1, 1) rad, or if the simulation becomes unstable; truncated
    after 200 steps by the registered time limit.

    ## Task
    `{"masses": (7,), "damping": (6,), "friction": (8,)}`, as `HopperParameters`'s.

    ## Version history
    - v0: the first.
    """

    robot = replace(WALKER2D, alter=alter)
    bodies = 7
    joints = 6

    def fallen(self, states: Array) -> NDArray[np.bool_]:
        """Return whether the walker is not upright, shape (rows,)."""
        height, angle = states[:, 2], states[:, 3]
        return ~((height > 0.8) & (height < 2.0) & (np.abs(angle) < 1.0))


class HopperParametersVector(LocomotionVector):
    """Many hoppers, each with its body."""

    family = HopperParameters


class Walker2DParametersVector(LocomotionVector):
    """Many walkers, each with its body."""

    family = Walker2DParameters
