"""python benchmarks/metaworld_stepping.py [iterations] [horizon] [width]: what the pool of workers gets out of Meta-World.

In turn, in one run: an iteration of MAML on ML1 reach, 10 tasks x 10 trajectories before and after an inner step, sampled by a
pool of one worker to a core; and Meta-World's own environment, bare, in this process, for as many steps as one of the pool's
cores had. Both reset as often. The ratio, of steps a second and core, is taken within an iteration, so that what slows the
machine slows both. Sampling includes the policy, of two layers of ``width`` units, which no bare environment has; the rest of
an iteration is gradients. On a busy machine the pool, with its process for every core, loses more than one process does.
"""

import sys
import warnings
from time import perf_counter

import numpy as np

import metarl
from metarl.cores import cores
from metarl.logger import seconds_by_part
from metarl.outer import GradientDescent

with warnings.catch_warnings(action="ignore"):
    import metaworld

ITERATIONS, HORIZON, WIDTH = (int(given) for given in [*sys.argv[1:], *["20", "200", "512"][len(sys.argv) - 1 :]])


def bare(env: metaworld.MetaWorldEnv, rng: np.random.Generator, episodes: int) -> float:
    """Return the steps a second of Meta-World's environment."""
    started = perf_counter()
    for _ in range(episodes):
        env.reset()
        for action in rng.normal(size=(HORIZON, 4)).clip(-1, 1).astype(np.float32):
            env.step(action)
    return episodes * HORIZON / (perf_counter() - started)


benchmark = metaworld.ML1("reach-v3", seed=0)
alone = benchmark.train_classes["reach-v3"]()
alone.set_task(benchmark.train_tasks[0])
agent = metarl.MAML(
    "MlpPolicy",
    "metarl/ML1-v0",
    env_kwargs={"env_name": "reach-v3", "max_episode_steps": HORIZON},
    policy_kwargs={"hidden": (WIDTH, WIDTH), "activation": "tanh"},
    rollouts=metarl.Rollouts(trajectories=10, vectorisation="workers"),
    outer=GradientDescent(),  # gradients are not what is measured here
    meta_batch=10,
    device="cpu",
)
print(f"metarl {metarl.__version__}; {cores()} cores; ML1 reach, {HORIZON} steps, a policy of 2 x {WIDTH}")
print("iteration   steps a second and core: pool    bare   ratio   sampling's share of the iteration")
rng, ratios, shares = np.random.default_rng(0), [], []
for iteration in range(ITERATIONS + 1):
    before, started = agent.num_timesteps, perf_counter()
    agent.learn(1, log_interval=10**9)
    whole, sampling = perf_counter() - started, seconds_by_part(agent.adapter, 1)["time/sampling_seconds"]
    steps = agent.num_timesteps - before
    pool, single = steps / sampling / cores(), bare(alone, rng, max(1, round(steps / HORIZON / cores())))
    if iteration:  # the first starts the workers, each of which makes the tasks and its environments
        ratios.append(pool / single)
        shares.append(sampling / whole)
        print(f"{iteration:9}{pool:29,.0f}{single:9,.0f}{ratios[-1]:8.2f}{shares[-1]:15.2f}", flush=True)
agent.close()
low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
print(f"median ratio {middle:.2f}, quartiles {low:.2f} to {high:.2f}; sampling is {np.median(shares):.0%} of an iteration")
