"""Stepping many robots at once with MuJoCo's own batched rollouts, on the threads of one process."""

import copy
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metarl.envs.locomotion.robots import CONTACT_LIMIT, Robot
from metarl.errors import ConfigError
from metarl.tasks import Array, Task

FASTEST = 1e3
"""No robot moves or turns as fast as this, in m/s and rad/s."""


def mujoco() -> Any:
    """Return the package, which is an extra: only locomotion families need it.

    Raises:
        ConfigError: it is not installed, or not together with the renderer that the environment variable MUJOCO_GL names.
    """
    try:
        import mujoco
        import mujoco.rollout
    except ImportError as error:
        raise ConfigError("locomotion families need MuJoCo, which is not installed: pip install 'metarl[mujoco]'") from error
    except Exception as error:  # whatever OpenGL's libraries raise
        raise ConfigError(
            f"MUJOCO_GL={os.environ.get('MUJOCO_GL')!r} names a renderer that MuJoCo cannot load ({type(error).__name__}): "
            "install its library, or unset MUJOCO_GL to go without pictures"
        ) from error
    return mujoco


class Motion(NamedTuple):
    """One step of some robots.

    Where the simulation became unstable the step did not happen: ``after`` is ``before`` and the forces are the earlier ones.

    Attributes:
        before: states, shape (rows, state).
        after: shape (rows, state).
        forces: clipped contact forces after it, shape (rows, 6 x bodies); (rows, 0) if the robot does not feel them.
        actions: as they were clipped, shape (rows, action).
        unstable: shape (rows,).
        seconds: that the step lasted, in simulated time.
    """

    before: Array
    after: Array
    forces: Array
    actions: Array
    unstable: NDArray[np.bool_]
    seconds: float

    def velocity(self, axis: int = 0) -> Array:
        """Return the root's mean velocity along an axis, shape (rows,), in m/s."""
        velocity: Array = (self.after[:, 1 + axis] - self.before[:, 1 + axis]) / self.seconds
        return velocity


class Simulation:
    """Steps any number of robots of one kind, each from its own state.

    A step is a function of the states alone: the constraint solver's warm start, which MuJoCo carries from step to step, begins
    at zero with each (environment's) step. So it matters neither which thread computes a row nor what that has computed
    before, and rows are equal to the last bit however many there are. The solver converges to its tolerance either way.

    MuJoCo says that a simulation is unstable when a position, velocity or acceleration is not finite or beyond 1e10; it then
    begins anew at its rest position. Such rows are given back as they were, marked, and MuJoCo's warning is not printed. So are
    rows with a velocity beyond ``FASTEST``, which lead there: a network should not see them.

    Args:
        robot: which.
        threads: how many to step on; 1 for the caller's own.

    Raises:
        ConfigError: MuJoCo is not installed.
    """

    def __init__(self, robot: Robot, threads: int = 1) -> None:
        self._mujoco = mujoco()
        self._arguments = (robot, threads)
        self.robot = robot
        self.threads = threads
        warn = self._mujoco.get_mju_user_warning()
        self._mujoco.set_mju_user_warning(_ignore)  # MuJoCo 4 says what is old in Gymnasium's models, in a file too
        try:
            path = resources.files("gymnasium") / "envs/mujoco/assets" / robot.xml
            self.model = self._mujoco.MjModel.from_xml_path(str(path))
        finally:
            self._mujoco.set_mju_user_warning(warn)
        self.positions: int = self.model.nq
        self.state_size: int = 1 + self.model.nq + self.model.nv
        self.force_size: int = 6 * self.model.nbody if robot.feels_contacts else 0
        self.seconds: float = self.model.opt.timestep * robot.frame_skip
        self._almost = self.seconds - 0.5 * self.model.opt.timestep
        self.low, self.high = self.model.actuator_ctrlrange.astype(np.float32).T
        self._altered: list[Any] = []
        self._datas = [self._mujoco.MjData(self.model) for _ in range(threads)]
        self._rollout = self._mujoco.rollout.Rollout(nthread=threads if threads > 1 and not robot.feels_contacts else 0)
        self._pool: ThreadPoolExecutor | None = None

    def __reduce__(self) -> tuple[type["Simulation"], tuple[Any, ...]]:
        """Make copies anew: a simulation remembers nothing between steps, and threads cannot be copied."""
        return type(self), self._arguments

    def models(self, tasks: Sequence[Task]) -> list[Any]:
        """Return the model of each row's task; those of an earlier call may become other tasks' models."""
        alter = self.robot.alter
        if alter is None:
            return [self.model] * len(tasks)
        distinct = {id(task): task for task in tasks}  # a row's task is often the same object
        while len(self._altered) < len(distinct):
            self._altered.append(copy.copy(self.model))
        of = dict(zip(distinct, self._altered, strict=False))
        for key, task in distinct.items():
            alter(of[key], self.model, task)
            self._mujoco.mj_setConst(of[key], self._datas[0])
        return [of[id(task)] for task in tasks]

    def start(self, rng: np.random.Generator) -> Array:
        """Return a state to start in, shape (state,)."""
        return self.robot.start(self.model.qpos0, self.model.nv, rng)

    def observe(self, states: Array, forces: Array) -> Array:
        """Return what is seen in states, shape (rows, observation)."""
        return self.robot.observe(states, self.positions, forces)

    def step(self, models: Sequence[Any], states: Array, forces: Array, actions: Array) -> Motion:
        """Move every row by one environment's step.

        Args:
            models: one for each row, see ``models``.
            states: shape (rows, state).
            forces: in these states, shape (rows, 6 x bodies) or (rows, 0).
            actions: clipped to their bounds, shape (rows, action).
        """
        frames, rows = self.robot.frame_skip, len(states)
        states = np.ascontiguousarray(states)
        actions = np.asarray(actions, dtype=np.float64).clip(self.low, self.high)
        controls = np.repeat(actions[:, None], frames, axis=1)
        path = np.empty((rows, frames, self.state_size))
        felt = np.empty((rows, self.force_size))
        with unreported(self._mujoco):
            if self.robot.feels_contacts:
                self._step_and_feel(models, states, controls, path, felt)
            else:
                self._roll(models, self._datas, states, controls, path)
        after = path[:, -1].copy()
        # MuJoCo's new beginning sets the clock back, and a rollout stops at a warning
        unstable = after[:, 0] < states[:, 0] + self._almost
        unstable |= (np.abs(after[:, 1 + self.positions :]) > FASTEST).any(1)
        if unstable.any():
            after[unstable], felt[unstable] = states[unstable], forces[unstable]
        return Motion(states, after, felt, actions, unstable, self.seconds)

    def _roll(self, models: Sequence[Any], datas: list[Any], states: Array, controls: Array, path: Array) -> None:
        """Fill in the states along the way, shape (rows, frames, state)."""
        self._rollout.rollout(models, datas, states, controls, nstep=self.robot.frame_skip, state=path, skip_checks=True)

    def _step_and_feel(self, models: Sequence[Any], states: Array, controls: Array, path: Array, felt: Array) -> None:
        """Fill in states, and the contact forces, which no rollout gives back: a row at a time, each thread with its own data.

        MuJoCo lets go of the interpreter's lock while it computes, so Python's threads do; benchmarks/locomotion_stepping.py
        measures what they cost beside it.
        """
        rows = iter(range(len(states)))  # shared: each thread takes the next row when it is done with one

        def work(data: Any) -> None:
            for row in rows:
                one = slice(row, row + 1)
                self._roll([models[row]], [data], states[one], controls[one], path[one])
                self._mujoco.mj_rnePostConstraint(models[row], data)
                felt[row] = data.cfrc_ext.reshape(-1)

        busy = self._datas[: len(states)]
        if len(busy) < 2:
            work(self._datas[0])
        else:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.threads)
            for _ in self._pool.map(work, busy):
                pass
        felt.clip(-CONTACT_LIMIT, CONTACT_LIMIT, out=felt)

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = None
        self._rollout.close()


@contextmanager
def unreported(mujoco: Any) -> Iterator[None]:
    """Let MuJoCo step without printing each unstable simulation, and without writing a file of them."""
    warn = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(_ignore)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(warn)


def _ignore(message: str) -> None:
    """Take no notice of a warning."""
