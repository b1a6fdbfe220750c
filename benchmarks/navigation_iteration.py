"""python benchmarks/navigation_iteration.py: seconds of a meta-iteration at Meta-SGD's navigation protocol, part by part.

20 tasks x 20 trajectories x 100 steps, one inner step, a 2-100-100-2 policy, by fraction of the time-steps in Fisher products.
"""

import statistics
from time import perf_counter

import torch

from metarl.agents.training import outer_step
from metarl.commands.presets.navigation import NAVIGATION
from metarl.commands.run import Run

ITERATIONS = 10

print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; median of {ITERATIONS} iterations after 3")
print(f"{'fraction':>8} {'agent':>9} {'iteration':>10} {'sampling':>9} {'adaptation':>11} {'outer step':>11}   (seconds)")
for fraction in (0.1, 0.2, 0.5, 1.0):
    for name in ("maml", "meta-sgd"):
        agent = Run.of({**NAVIGATION, "trpo.fisher_fraction": fraction}, agent=name).make().learn(3)
        agent.adapter.clock.read()
        seconds, parts = [], []
        for _ in range(ITERATIONS):
            start = perf_counter()
            outer_step(agent, report=False)
            seconds.append(perf_counter() - start)
            parts.append(agent.adapter.clock.read())
        sampling, adaptation = (statistics.median(part[key] for part in parts) for key in ("sampling", "adaptation"))
        total = statistics.median(seconds)
        rest = total - sampling - adaptation
        print(f"{fraction:8.1f} {name:>9} {total:10.3f} {sampling:9.3f} {adaptation:11.3f} {rest:11.3f}")
