"""python benchmarks/locomotion_stepping.py [rounds]: what a step of a locomotion family costs, alone and in its native batch.

In turn, in one run: Gymnasium's own environment, ours, our batch on every core, and bare ``mj_step`` through the batch's very
trajectories on one core. Ratios are taken within a round, so that what slows the machine slows all. On a busy machine trust the
CPU's seconds, which leave out what other processes took.
"""

import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time

import gymnasium as gym
import mujoco
import numpy as np
import torch

import metarl
from metarl.cores import cores

FAMILIES = {
    "HalfCheetahDirection": "HalfCheetah-v5",
    "HalfCheetahVelocity": "HalfCheetah-v5",
    "AntDirection": "Ant-v5",
    "AntVelocity": "Ant-v5",
    "AntGoal": "Ant-v5",
    "HopperParameters": "Hopper-v5",
    "Walker2DParameters": "Walker2d-v5",
}
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 9
ROWS, STEPS, ALONE = 400, 10, 400
"""Rows and steps of a batch, and steps of a single environment."""
FULL = mujoco.mjtState.mjSTATE_FULLPHYSICS


def timed(work: Callable[[], int]) -> tuple[float, float]:
    """Return the seconds of the clock and of the CPU, each a step, of what returns how many steps it took."""
    wall, cpu = perf_counter(), process_time()
    steps = work()
    return (perf_counter() - wall) / steps, (process_time() - cpu) / steps


def alone(env: gym.Env, actions: np.ndarray) -> int:
    """Step a single environment, new starts among the steps as in use."""
    env.reset(seed=0)
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return len(actions)


class Batch:
    """A batch's trajectories, and the same by bare steps."""

    def __init__(self, name: str) -> None:
        self.env = gym.make_vec(f"metarl/{name}-v0", num_envs=ROWS).unwrapped
        self.env.reset(seed=0)
        tasks = self.env.sample_tasks(ROWS // 20)
        self.tasks = [task for task in tasks for _ in range(20)]
        self.seeds = torch.arange(ROWS)
        self.actions = torch.rand(STEPS, ROWS, *self.env.single_action_space.shape) * 2 - 1

    def start(self) -> None:
        """Put every row at its start, and keep where that is."""
        self.env.tensor_reset(self.tasks, self.seeds)
        self.states, self.models = self.env._states.copy(), self.env._models
        self.data = mujoco.MjData(self.models[0])
        self.happened: list[np.ndarray] = []

    def step(self) -> int:
        """Step the batch."""
        for actions in self.actions:
            self.happened.append(~self.env._ended)
            self.env.tensor_step(actions)
        return int(np.sum(self.happened))

    def bare(self) -> int:
        """Step through the same by MuJoCo alone."""
        data, frames = self.data, self.env.family.robot.frame_skip
        lengths, actions = np.sum(self.happened, axis=0), self.actions.numpy()
        for row, length in enumerate(lengths):
            mujoco.mj_setState(self.models[row], data, self.states[row], FULL)
            for step in range(length):
                data.ctrl[:] = actions[step, row]
                mujoco.mj_step(self.models[row], data, nstep=frames)
        return int(lengths.sum())


versions = f"metarl {metarl.__version__}, gymnasium {gym.__version__}, mujoco {mujoco.__version__}"
print(f"{versions}; {cores()} cores, {ROUNDS} rounds; medians")
print("                        steps a second   as fast as gymnasium   CPU time beside bare mj_step")
print("family                    bare   batch      ours      batch      gymnasium   ours   batch")
for name, v5 in FAMILIES.items():
    batch, theirs, ours = Batch(name), gym.make(v5, max_episode_steps=200), gym.make(f"metarl/{name}-v0")
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (ALONE, *ours.action_space.shape)).astype(np.float32)
    seen = []
    for _ in range(ROUNDS + 1):  # the first warms up
        batch.start()
        together = timed(batch.step)
        seen.append((timed(batch.bare), together, timed(lambda: alone(theirs, actions)), timed(lambda: alone(ours, actions))))  # noqa: B023
    batch.env.close()
    walls, cpus = np.moveaxis(np.array(seen[1:]), 2, 0)
    bare, together, gymnasiums, single = walls.T
    print(f"{name:22}{1 / median(bare):8,.0f}{1 / median(together):8,.0f}", end="")
    print(f"{median(gymnasiums / single):10.2f}{median(gymnasiums / together):11.2f}", end="")
    bare, together, gymnasiums, single = cpus.T
    print(f"{median(gymnasiums / bare):15.2f}{median(single / bare):7.2f}{median(together / bare):8.2f}")
