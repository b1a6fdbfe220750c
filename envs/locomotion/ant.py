"""Ants that walk forwards or backwards, at a speed, or to a goal.

Direction and velocity: Finn, Abbeel and Levine 2017, section 5.3 and appendix A.2, by the rewards of Finn's code. Goals:
Rothfuss et al. 2019, "ProMP: Proximal Meta-Policy Search", by their code.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metarl.envs.locomotion.directions import Directions
from metarl.envs.locomotion.family import Locomotion
from metarl.envs.locomotion.robots import ANT
from metarl.envs.locomotion.simulation import Motion
from metarl.envs.locomotion.vector import LocomotionVector
from metarl.envs.locomotion.velocities import Velocities
from metarl.errors import TaskError, require_positive
from metarl.tasks import Array, Task

CONTROL_COST = 0.005
GOAL_CONTROL_COST = 0.1
CONTACT_COST = 5e-4
ALIVE = 0.05
"""What a step pays in which the ant is upright."""
LOWEST, HIGHEST = 0.2, 1.0
"""Heights of its torso between which an ant is upright, in metres."""


class StandingAnt(Locomotion):
    """An ant whose episode ends when it falls."""

    robot = ANT

    def fallen(self, states: Array) -> NDArray[np.bool_]:
        """Return whether the ant is not upright, shape (rows,)."""
        return ~upright(states)


class AntDirection(StandingAnt, Directions):
    """An ant that must walk forwards or backwards.

    ## Observation
    `Box(-1e10, 1e10, (105,), float64)`: Gymnasium's `Ant-v5`: positions without x and y (13), velocities (14), and the external
    forces and torques on every body but the world, clipped to plus or minus 1 (78); at the start these are zeros.

    ## Action
    `Box(-1, 1, (8,), float32)`: torques, clipped to the box.

    ## Reward
    The direction times the torso's velocity along x (m/s), less 0.005 times the sum of squared actions, less 0.0005 times the
    sum of squared clipped forces, and 0.05 while the ant is upright.

    ## Start
    As `Ant-v5`'s: positions uniform within 0.1 of rest, velocities normal with deviation 0.1.

    ## End
    Terminated when the torso's height leaves [0.2, 1] m, or the simulation becomes unstable; truncated after 200 steps by the
    registered time limit.

    ## Task
    `{"direction": (1,)}`: 1 for forwards or -1 for backwards, each half of the time.

    ## Arguments
    - `task`: the first task; without it the first `reset` draws one.
    - `threads`: of the vector environment; a core each unless given.
    - `render_mode`, `width`, `height`: `"rgb_array"`, and the pictures' size in pixels.

    ## Version history
    - v0: the first, on MuJoCo 3.3 and Gymnasium's model of version 5: a step is 0.05 s, where Finn's is 0.02 s. The velocity is
      that of the torso's position; `Ant-v5`'s own is of where the simulator's last stage had put it, up to 1 mm away.
    """

    def rewards(self, motion: Motion, tasks: Mapping[str, Array]) -> Array:
        """Return the rewards, shape (rows,)."""
        ahead: Array = tasks["direction"][:, 0] * motion.velocity()
        return ahead + _alive(motion) - _costs(motion, CONTROL_COST)


class AntVelocity(StandingAnt, Velocities):
    """An ant that must walk at a speed.

    ## Observation, action, start, end
    As `AntDirection`'s.

    ## Reward
    1 less the distance of the torso's velocity along x (m/s) from the task's, with the costs and the 0.05 of `AntDirection`.

    ## Task
    `{"velocity": (1,)}`, uniform in [0, 3] m/s.

    ## Arguments
    - `fastest`: the fastest task's velocity.
    - `task`, `threads`, `render_mode`, `width`, `height`: as `AntDirection`'s.

    ## Version history
    - v0: the first.
    """

    def __init__(self, task: Mapping[str, Any] | None = None, fastest: float = 3.0, **arguments: Any) -> None:
        super().__init__(task, fastest, **arguments)

    def rewards(self, motion: Motion, tasks: Mapping[str, Array]) -> Array:
        """Return the rewards, shape (rows,)."""
        return 1 - self.off(motion, tasks) + _alive(motion) - _costs(motion, CONTROL_COST)


class AntGoal(Locomotion):
    """An ant that must walk to a goal.

    ## Observation
    `Box(-1e10, 1e10, (107,), float64)`: as `AntDirection`'s, with the position x and y before the others.

    ## Action, start
    As `AntDirection`'s.

    ## Reward
    Minus the sum of the distances to the goal along x and along y (m), less 0.1 times the sum of squared actions, less 0.0005
    times the sum of squared clipped forces.

    ## End
    Truncated after 200 steps by the registered time limit; terminated only if the simulation becomes unstable.

    ## Task
    `{"goal": (x, y)}`, uniform in the disc of radius 3 m around the origin.

    ## Arguments
    - `radius`: the disc's.
    - `task`, `threads`, `render_mode`, `width`, `height`: as `AntDirection`'s.

    ## Version history
    - v0: the first.
    """

    robot = replace(ANT, hidden_positions=0)

    def __init__(self, task: Mapping[str, Any] | None = None, radius: float = 3.0, **arguments: Any) -> None:
        require_positive(radius=radius)
        self.radius = radius
        corner = np.full(2, radius, np.float32)
        self.bounds = {"goal": (-corner, corner)}
        super().__init__(task, **arguments)

    def draw_tasks(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Draw goals uniformly from the disc; shape (n, 2)."""
        angle, distance = 2 * np.pi * rng.uniform(size=n), self.radius * np.sqrt(rng.uniform(size=n))
        return {"goal": (distance * np.stack([np.cos(angle), np.sin(angle)])).T.astype(np.float32)}

    def check_task(self, task: Mapping[str, Any]) -> Task:
        """Return the task as float32 arrays.

        Raises:
            TaskError: a missing, unknown or misshapen entry, or a goal outside the disc.
        """
        checked = super().check_task(task)
        if np.linalg.norm(checked["goal"]) > self.radius * (1 + 1e-6):  # float32's rounding at the rim
            goal = checked["goal"].tolist()
            raise TaskError(f"task['goal']={goal} is outside the disc of radius {self.radius:g}: choose within it")
        return checked

    def rewards(self, motion: Motion, tasks: Mapping[str, Array]) -> Array:
        """Return the rewards, shape (rows,)."""
        away: Array = np.abs(motion.after[:, 1:3] - tasks["goal"]).sum(1)
        return -away - _costs(motion, GOAL_CONTROL_COST)


def upright(states: Array) -> NDArray[np.bool_]:
    """Return whether the torso's height is that of an ant on its legs, shape (rows,)."""
    height = states[:, 3]
    return (height >= LOWEST) & (height <= HIGHEST)


def _alive(motion: Motion) -> Array:
    return ALIVE * upright(motion.after)


def _costs(motion: Motion, control: float) -> Array:
    """Return what actions and contacts cost, shape (rows,)."""
    cost: Array = control * (motion.actions**2).sum(1) + CONTACT_COST * (motion.forces**2).sum(1)
    return cost


class AntDirectionVector(LocomotionVector):
    """Many ants, each with its direction."""

    family = AntDirection


class AntVelocityVector(LocomotionVector):
    """Many ants, each with its velocity."""

    family = AntVelocity


class AntGoalVector(LocomotionVector):
    """Many ants, each with its goal."""

    family = AntGoal
