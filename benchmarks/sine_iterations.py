"""python benchmarks/sine_iterations.py: meta-iterations a second at the sine protocol, eager and compiled, in one run.

4 tasks, 5 shots, 10 queries, a 1-40-40-1 regressor, one second-order inner step, Adam.
"""

from time import perf_counter

import torch

from metarl.commands.presets import PRESETS
from metarl.commands.run import Run

ITERATIONS = 2000

print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {ITERATIONS} iterations of agent.learn after 200")
for name in ("maml", "meta-sgd"):
    rates = {}
    for compiled in (False, True):
        agent = Run.of({**PRESETS["sine"][1], "gradient.compile": compiled, "gradient.clip_norm": None}, agent=name).make()
        start = perf_counter()
        agent.learn(200, log_interval=200)
        first = perf_counter() - start
        start = perf_counter()
        agent.learn(ITERATIONS, log_interval=ITERATIONS)
        rates[compiled] = ITERATIONS / (perf_counter() - start)
        kind = "compiled" if compiled else "eager"
        print(f"{name:>9} {kind:>9}: {rates[compiled]:7.0f} a second (the first 200 took {first:.1f} s)")
    print(f"{name:>9} compiled / eager: {rates[True] / rates[False]:.1f}")
