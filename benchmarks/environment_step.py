"""python benchmarks/environment_step.py: what a single step of our environments costs beside Gymnasium's Pendulum.

Blocks of steps of each environment in turn, with Gymnasium's usual wrappers, in one run; the ratio is taken within a round, so
that what slows the machine slows both.
"""

from statistics import median
from time import perf_counter

import gymnasium as gym

import metarl  # registers the environments

PENDULUM = "Pendulum-v1"
OURS = ("metarl/Navigation2D-v0", "metarl/Navigation2DVaryingStart-v0", "metarl/BernoulliBandit-v0", "metarl/TabularMDP-v0")
ROUNDS, STEPS = 25, 4000


def seconds(env: gym.Env) -> float:
    """Return the seconds of a step, new starts among them as in use."""
    action = env.action_space.sample()
    env.reset()
    start = perf_counter()
    for _ in range(STEPS):
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return (perf_counter() - start) / STEPS


envs = {name: gym.make(name) for name in (PENDULUM, *OURS)}
for env in envs.values():
    env.reset(seed=0)
    env.action_space.seed(0)
    seconds(env)  # warms up
rounds = [{name: seconds(env) for name, env in envs.items()} for _ in range(ROUNDS)]
print(f"metarl {metarl.__version__}, gymnasium {gym.__version__}; {ROUNDS} rounds of {STEPS} steps")
print(f"{'environment':36} {'microseconds':>12} {'of Pendulum: median':>20} {'lowest':>7} {'highest':>7}")
for name in envs:
    ratios = [one[name] / one[PENDULUM] for one in rounds]
    step = 1e6 * median(one[name] for one in rounds)
    print(f"{name:36} {step:12.1f} {median(ratios):20.2f} {min(ratios):7.2f} {max(ratios):7.2f}")
