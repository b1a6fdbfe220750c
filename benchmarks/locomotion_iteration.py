"""python benchmarks/locomotion_iteration.py [iterations] [preset]: where a meta-iteration of locomotion goes, and its memory.

MAML on cheetah direction unless told otherwise: 20 tasks x 20 trajectories x 200 steps before and after one inner step,
policies of 2 x 100 units, TRPO outside. Each part's seconds and its share of the whole, medians over the iterations after two;
and the process's peak memory as it goes.
"""

import resource
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch
from rich.progress import track

from metarl.agents.training import outer_step
from metarl.clock import Clock
from metarl.commands.presets import PRESETS
from metarl.commands.run import Run
from metarl.envs.locomotion.simulation import Simulation

ITERATIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 10
PRESET = sys.argv[2] if len(sys.argv) > 2 else "cheetah-direction-small"
LOOKS = 10
"""At the memory."""


def clocked(function: Callable[..., Any], clock: Clock, part: str) -> Callable[..., Any]:
    """Return a function whose seconds a clock counts."""

    def timed(*args: Any, **kwargs: Any) -> Any:
        with clock(part):
            return function(*args, **kwargs)

    return timed


run = Run.of({**PRESETS[PRESET][1], "meta_batch": 20})
agent = run.make()
clock, adapter = agent.adapter.clock, agent.adapter
Simulation._roll = clocked(Simulation._roll, clock, "MuJoCo")
policies = adapter.policies
adapter.policies = lambda *args: clocked(policies(*args), clock, "policies")
agent.learn(2)
clock.read()
seconds: dict[str, list[float]] = {}
memory = []
for iteration in track(range(ITERATIONS), transient=True):
    start = perf_counter()
    outer_step(agent, report=False)
    whole, parts = perf_counter() - start, clock.read()
    found = {
        "MuJoCo": parts["MuJoCo"],
        "policies, step by step": parts["policies"],
        "the rest of sampling": parts["sampling"] - parts["MuJoCo"] - parts["policies"],
        "inner steps": parts["adaptation"],
        "outer step": whole - parts["sampling"] - parts["adaptation"],
        "together": whole,
    }
    for part, value in found.items():
        seconds.setdefault(part, []).append(value)
    if iteration % max(1, ITERATIONS // LOOKS) == 0 or iteration == ITERATIONS - 1:
        memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)

print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {PRESET}: median of {ITERATIONS} iterations after 2")
for part, values in seconds.items():
    share = median(one / whole for one, whole in zip(values, seconds["together"], strict=True))
    print(f"{part:>24} {median(values):7.2f} s {share:6.0%}")
print("peak memory so far, MiB:", " ".join(f"{one:.0f}" for one in memory))
