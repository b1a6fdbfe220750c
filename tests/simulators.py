"""Small simulators that misbehave on request; a worker process imports this file, so it imports no torch."""

import ctypes
import os
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np


class Walk(gym.Env):
    """A walk on a line; the task says how each episode goes.

    Observation: the position and the time. Reward: minus the distance to the task's ``goal``, plus noise of the environment's
    own generator. Terminated after the task's ``length`` steps, if there is one.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    open = 0
    most = 0

    def __init__(self):
        type(self).open += 1
        type(self).most = max(type(self).most, type(self).open)
        self.task = {}

    def _observe(self):
        return np.array([self._position, self._time], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._position, self._time = float(self.np_random.normal()), 0
        if self.task.get("started_with_torch"):
            self._position = float("torch" in sys.modules)
        return self._observe(), {}

    def step(self, action):
        self._time += 1
        self._position += float(action[0])
        mischief = self.task.get("mischief")
        if mischief == "raise":
            raise ValueError("the simulator exploded")
        if mischief == "lose":
            raise EOFError("the simulator lost its server")
        if mischief == "exit":
            os._exit(3)
        if mischief == "hang":
            time.sleep(60)
        if mischief == "child":
            self._child = subprocess.Popen(["sleep", "60"])
            with open(self.task["file"], "w") as file:
                file.write(f"{os.getpid()} {self._child.pid}")
            if self.task["holds_the_lock"]:
                ctypes.PyDLL(None).sleep(60)  # in C, no other thread of Python's can run
            time.sleep(60)
        reward = -abs(self._position - self.task.get("goal", 0)) + float(self.np_random.normal())
        return self._observe(), reward, self._time == self.task.get("length"), False, {}

    def close(self):
        type(self).open -= 1
        if "note" in self.task:
            with open(self.task["note"], "a") as file:
                file.write("closed\n")


def make_walk():
    """Return a walk with a time limit of five steps."""
    return gym.wrappers.TimeLimit(Walk(), 5)
