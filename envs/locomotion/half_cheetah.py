"""Half-cheetahs that run forwards or backwards, or at a speed.

Finn, Abbeel and Levine 2017, section 5.3 and appendix A.2, by the rewards of Finn's code.
"""

from collections.abc import Mapping
from typing import Any

from metarl.envs.locomotion.directions import Directions
from metarl.envs.locomotion.robots import HALF_CHEETAH
from metarl.envs.locomotion.simulation import Motion
from metarl.envs.locomotion.vector import LocomotionVector
from metarl.envs.locomotion.velocities import Velocities
from metarl.tasks import Array

CONTROL_COST = 0.05


class HalfCheetahDirection(Directions):
    """A half-cheetah that must run forwards or backwards.

    ## Observation
    `Box(-1e10, 1e10, (17,), float64)`: Gymnasium's `HalfCheetah-v5`: positions without x (8), then velocities (9).

    ## Action
    `Box(-1, 1, (6,), float32)`: torques, clipped to the box.

    ## Reward
    The direction times the velocity along x (m/s), less 0.05 times the sum of squared actions.

    ## Start
    As `HalfCheetah-v5`'s: positions uniform within 0.1 of rest, velocities normal with deviation 0.1.

    ## End
    Truncated after 200 steps by the registered time limit; terminated only if the simulation becomes unstable.

    ## Task
    `{"direction": (1,)}`: 1 for forwards or -1 for backwards, each half of the time.

    ## Arguments
    - `task`: the first task; without it the first `reset` draws one.
    - `threads`: of the vector environment; a core each unless given.
    - `render_mode`, `width`, `height`: `"rgb_array"`, and the pictures' size in pixels.

    ## Version history
    - v0: the first, on MuJoCo 3.3 and Gymnasium's model of version 5: a step is 0.05 s, where Finn's is 0.01 s.
    """

    robot = HALF_CHEETAH

    def rewards(self, motion: Motion, tasks: Mapping[str, Array]) -> Array:
        """Return the rewards, shape (rows,)."""
        ahead: Array = tasks["direction"][:, 0] * motion.velocity()
        return ahead - control_cost(motion)


class HalfCheetahVelocity(Velocities):
    """A half-cheetah that must run at a speed.

    ## Observation, action, start, end
    As `HalfCheetahDirection`'s.

    ## Reward
    Minus the distance of the velocity along x (m/s) from the task's, less 0.05 times the sum of squared actions.

    ## Task
    `{"velocity": (1,)}`, uniform in [0, 2] m/s.

    ## Arguments
    - `fastest`: the fastest task's velocity: 2, as in MAML; ProMP has 3.
    - `task`, `threads`, `render_mode`, `width`, `height`: as `HalfCheetahDirection`'s.

    ## Version history
    - v0: the first.
    """

    robot = HALF_CHEETAH

    def __init__(self, task: Mapping[str, Any] | None = None, fastest: float = 2.0, **arguments: Any) -> None:
        super().__init__(task, fastest, **arguments)

    def rewards(self, motion: Motion, tasks: Mapping[str, Array]) -> Array:
        """Return the rewards, shape (rows,)."""
        return -self.off(motion, tasks) - control_cost(motion)


def control_cost(motion: Motion) -> Array:
    """Return what the actions cost, shape (rows,)."""
    cost: Array = CONTROL_COST * (motion.actions**2).sum(1)
    return cost


class HalfCheetahDirectionVector(LocomotionVector):
    """Many half-cheetahs, each with its direction."""

    family = HalfCheetahDirection


class HalfCheetahVelocityVector(LocomotionVector):
    """Many half-cheetahs, each with its velocity."""

    family = HalfCheetahVelocity
