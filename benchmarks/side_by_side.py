"""python benchmarks/side_by_side.py [rounds]: ten seeds that learn side by side against one of them alone.

TURTLE on sine waves as its preset has it (five inner steps, two tasks), each with the gradient as it is and compiled: seconds
of an iteration of one agent's ``learn`` and of ``learn_side_by_side`` of ten, in turn after a few that warm up and compile.
The aim: ten take at most twice as long as one.
"""

import sys
from statistics import median
from time import perf_counter

import torch

from metarl.agents import Agent
from metarl.agents.side_by_side import learn_side_by_side
from metarl.commands.presets import PRESETS
from metarl.commands.run import Run

SEEDS = 10
WARM_UP = 3
ITERATIONS = {False: 10, True: 100}
"""Of a round, eager and compiled."""


def make(seed: int, compiled: bool) -> Agent:
    """Return one of the agents."""
    return Run.of({**PRESETS["turtle-sine-5"][1], "gradient.compile": compiled}, seed=seed).make()


def alone(agent: Agent, iterations: int) -> float:
    """Return the seconds of an iteration of one agent."""
    started = perf_counter()
    agent.learn(iterations, log_interval=iterations + 1)
    return (perf_counter() - started) / iterations


def together(agents: list[Agent], iterations: int) -> float:
    """Return the seconds of an iteration of all agents."""
    started = perf_counter()
    learn_side_by_side(agents, iterations)
    return (perf_counter() - started) / iterations


rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of {rounds} rounds")
print(f"{'':>9}{'one, ms':>10}{f'{SEEDS}, ms':>10}{'ratio':>8}{'range':>14}")
for compiled, iterations in ITERATIONS.items():
    one, ten = make(0, compiled), [make(seed, compiled) for seed in range(SEEDS)]
    alone(one, WARM_UP), together(ten, WARM_UP)
    seconds = [(alone(one, iterations), together(ten, iterations)) for _ in range(rounds)]
    ratios = [of_ten / of_one for of_one, of_ten in seconds]
    milliseconds = [1000 * median(column) for column in zip(*seconds, strict=True)]
    print(
        f"{'compiled' if compiled else 'eager':>9}{milliseconds[0]:>10.2f}{milliseconds[1]:>10.2f}{median(ratios):>8.2f}"
        f"{f'{min(ratios):.2f} to {max(ratios):.2f}':>14}",
        flush=True,
    )
