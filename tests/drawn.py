"""A family that draws itself in no time: a point on a line, in the colour of its place."""

import gymnasium as gym
import numpy as np

from metarl.envs import TaskFamily

STEPS = 4


class Drawn(TaskFamily):
    """A point that moves by its action and is paid by how near it is to the task's goal; a frame is of its place's colour."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gym.spaces.Box(-100, 100, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    bounds = {"goal": (np.zeros(1, np.float32), np.ones(1, np.float32))}

    def __init__(self, task=None, render_mode=None, width=60, height=40):
        self.render_mode, self.width, self.height = render_mode, width, height
        self.place = 0.0
        if task is not None:
            self.task = task

    def draw_tasks(self, n, rng):
        return {"goal": rng.uniform(0, 1, (n, 1)).astype(np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.take_task(options)
        self.place = 0.0
        return np.zeros(1, np.float32), {"task": self.task}

    def step(self, action):
        self.place = float(np.clip(self.place + float(action[0]), -100, 100))
        reward = -abs(self.place - float(self._task["goal"][0]))
        return np.full(1, self.place, np.float32), reward, False, False, {"task": self.task}

    def render(self):
        colour = int(np.clip(128 + 20 * self.place, 0, 255))
        return np.full((self.height, self.width, 3), colour, np.uint8)


class Blind(Drawn):
    """The same, without pictures."""

    metadata = {"render_modes": []}


class Dark(Drawn):
    """The same, whose renderer finds no screen."""

    def render(self):
        raise RuntimeError("no display\nand so on")


for kind in (Drawn, Blind, Dark):
    if f"tests/{kind.__name__}-v0" not in gym.registry:
        gym.register(f"tests/{kind.__name__}-v0", kind, max_episode_steps=STEPS)
