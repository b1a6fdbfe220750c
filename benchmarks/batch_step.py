"""python benchmarks/batch_step.py: steps a second of a family's batch, new starts included, beside its single environment."""

from time import perf_counter

import gymnasium as gym
import torch

import metarl  # noqa: F401 - registers the environments

FAMILIES = ("metarl/Navigation2D-v0", "metarl/BernoulliBandit-v0", "metarl/TabularMDP-v0")
ROWS, EPISODES = 400, 10


def single(name: str) -> float:
    """Return the steps a second of one environment."""
    env = gym.make(name)
    env.reset(seed=0)
    action, steps = env.action_space.sample(), 5000
    start = perf_counter()
    for _ in range(steps):
        if any(env.step(action)[2:4]):
            env.reset()
    return steps / (perf_counter() - start)


def batch(name: str) -> float:
    """Return the steps a second of the batch, twenty rows a task."""
    vector = gym.make_vec(name, num_envs=ROWS).unwrapped
    tasks = [task for task in vector.sample_tasks(ROWS // 20) for _ in range(20)]
    actions = torch.as_tensor(vector.action_space.sample())
    start = perf_counter()
    for episode in range(EPISODES):
        vector.tensor_reset(tasks, torch.arange(ROWS) + ROWS * episode)
        for _ in range(vector.horizon):
            vector.tensor_step(actions)
    return ROWS * EPISODES * vector.horizon / (perf_counter() - start)


for name in FAMILIES:
    one, many = single(name), batch(name)
    print(f"{name:28} single {one:9,.0f} steps a second, batch of {ROWS} {many:11,.0f}: {many / one:.0f} times")
