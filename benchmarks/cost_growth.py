"""python benchmarks/cost_growth.py [--rounds N] [--picture FILE]: what a meta-iteration costs as each of its sizes is doubled.

Second-order MAML on sine waves, on random images shaped as Omniglot's (Conv4 with strides) and, by TRPO, on navigation: seconds
of an outer step (median of rounds, the sizes in turn) and its peak memory, each size doubled several times from a small base
while the others stay. Memory is counted, not looked up: the most bytes that PyTorch's allocator has handed out at once above
those at the step's start, by its profiler's events, which are the same in every run; what a convolution's library takes for
itself is not among them. A slope is the least-squares exponent of cost by size, below 1 where a fixed cost is part of it; the
last doubling's own stands beside it. For a width the size is the number of parameters. Freed memory is kept, as the command
line has it.
"""

import argparse
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import linear_regression, median
from time import perf_counter

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # what the profiler says of itself
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
import torch
from matplotlib.figure import Figure
from random_images import random_images
from torch.profiler import ProfilerActivity, profile

from metarl.agents import Agent
from metarl.agents.training import outer_step
from metarl.commands.presets import PRESETS
from metarl.commands.run import Run
from metarl.commands.start import keep_memory

SHORTEST = 0.1
"""Seconds for which outer steps are repeated in a round."""
STEEP = 1.1
"""The slope from which on a cost grows faster than its size, in words."""


@dataclass(frozen=True)
class World:
    """A kind of tasks.

    Attributes:
        make: returns an agent of the sizes, by name.
        base: each size's smallest value, at which it stays while another grows; and how often it is doubled.
    """

    make: Callable[..., Agent]
    base: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Growth:
    """What a meta-iteration costs at each of several sizes.

    Attributes:
        world: the kind of tasks.
        name: what grows.
        values: the sizes, of a width the numbers of parameters.
        costs: of an outer step at each: its seconds, and its peak memory in MiB.
    """

    world: str
    name: str
    values: list[int]
    costs: dict[str, list[float]]


def sine(tasks: int, shots: int, inner_steps: int, width: int) -> Agent:
    """Return an agent on sine waves."""
    changes = {"gradient.compile": False, "policy_kwargs": {"hidden": (width, width)}, "env_kwargs": {"shots": shots}}
    settings = {**PRESETS["sine"][1], **changes, "meta_batch": tasks, "inner_steps": inner_steps}
    return Run.of(settings, agent="maml").make()


def images(tasks: int, ways: int, shots: int, inner_steps: int, width: int) -> Agent:
    """Return an agent on random images."""
    network = {"downsampling": "stride", "filters": width}
    settings = {**PRESETS["maml-omniglot"][1], "policy_kwargs": network, "meta_batch": tasks, "inner_steps": inner_steps}
    return Run.of(settings).make(random_images(ways, shots, queries=4))


def navigation(tasks: int, trajectories: int, horizon: int, inner_steps: int, width: int) -> Agent:
    """Return an agent on navigation."""
    network, limit = {"hidden": (width, width)}, {"max_episode_steps": horizon}
    changes = {"rollouts.trajectories": trajectories, "env_kwargs": limit, "policy_kwargs": network}
    settings = {**PRESETS["navigation"][1], **changes, "meta_batch": tasks, "inner_steps": inner_steps}
    return Run.of(settings, agent="maml").make()


WORLDS = {
    "sine": World(sine, {"tasks": (4, 8), "shots": (5, 8), "inner_steps": (1, 5), "width": (20, 4)}),
    "images": World(images, {"tasks": (1, 5), "ways": (5, 4), "shots": (1, 4), "inner_steps": (1, 4), "width": (16, 3)}),
    "navigation": World(
        navigation, {"tasks": (2, 5), "trajectories": (5, 5), "horizon": (10, 4), "inner_steps": (1, 4), "width": (25, 4)}
    ),
}


def seconds(agent: Agent) -> float:
    """Return the seconds of an outer step."""
    started, steps, passed = perf_counter(), 0, 0.0
    while passed < SHORTEST:
        outer_step(agent, report=False)
        steps, passed = steps + 1, perf_counter() - started
    return passed / steps


def mebibytes(agent: Agent) -> float:
    """Return the peak memory of an outer step."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        outer_step(agent, report=False)
    assert profiled.profiler is not None
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate(event.nbytes() for event in events)) / 2**20


def grow(world: str, name: str, rounds: int) -> Growth:
    """Measure what a size costs."""
    base = {size: smallest for size, (smallest, _) in WORLDS[world].base.items()}
    smallest, doublings = WORLDS[world].base[name]
    values = [smallest * 2**i for i in range(doublings + 1)]
    agents = [WORLDS[world].make(**{**base, name: value}) for value in values]
    for agent in agents:
        outer_step(agent, report=False)  # the first has new memory
    memory = [mebibytes(agent) for agent in agents]
    measured = [[seconds(agent) for agent in agents] for _ in range(rounds)]
    if name == "width":
        values = [agent.meta["theta"].numel() for agent in agents]
    costs = {"seconds": [median(column) for column in zip(*measured, strict=True)], "memory": memory}
    return Growth(world, name, values, costs)


def slope(values: Sequence[float], costs: Sequence[float]) -> float:
    """Return the exponent of cost by size."""
    return linear_regression([math.log(value) for value in values], [math.log(cost) for cost in costs]).slope


def picture(growths: list[Growth]) -> Figure:
    """Draw all costs as multiples of the first, over the size as one; dotted what is proportional."""
    columns = max(len(world.base) for world in WORLDS.values())
    figure = Figure(figsize=(3.2 * columns, 3.2 * len(WORLDS)), layout="constrained")
    grid = figure.subplots(len(WORLDS), columns, squeeze=False)
    for line, world in zip(grid, WORLDS, strict=True):
        own = [growth for growth in growths if growth.world == world]
        for axes in line[len(own) :]:
            axes.set_axis_off()
        for axes, growth in zip(line, own, strict=False):
            factors = [value / growth.values[0] for value in growth.values]
            axes.plot(factors, factors, ":", color="grey", label="proportional")
            for marker, (what, costs) in zip("os", growth.costs.items(), strict=True):
                label = f"{what}, slope {slope(growth.values, costs):.2f}"
                axes.plot(factors, [cost / costs[0] for cost in costs], marker=marker, markersize=4, label=label)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log", base=2)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter("{x:g}")
            kind = "parameters" if growth.name == "width" else growth.name.replace("_", " ")
            axes.set_title(f"{world}: {kind}", fontsize="medium")
            axes.set_xlabel(f"times {growth.values[0]:,}")
            axes.legend(fontsize="x-small", loc="upper left")
        line[0].set_ylabel("times the first cost")
    figure.suptitle("Seconds and peak memory of a meta-iteration, as one size grows")
    return figure


def row(growth: Growth) -> str:
    """Return a line of the table."""
    told = f"{growth.world:>10} {growth.name:>12} {growth.values[0]:>7,} {growth.values[-1]:>9,}"
    for costs in growth.costs.values():
        exponents = f"{slope(growth.values, costs):.2f} ({slope(growth.values[-2:], costs[-2:]):.2f})"
        told += f" {f'{costs[0]:.3g} to {costs[-1]:.3g}':>17} {exponents:>13}"
    return told


def steep(growth: Growth) -> list[str]:
    """Return which costs grow faster than their size, in words."""
    parts = {"over all sizes": slice(None), "in the last doubling": slice(-2, None)}
    exponents = {
        f"{growth.world}: {what} by {growth.name} {where}": slope(growth.values[part], costs[part])
        for what, costs in growth.costs.items()
        for where, part in parts.items()
    }
    return [f"{name}: exponent {exponent:.2f}" for name, exponent in exponents.items() if exponent > STEEP]


def main() -> None:
    """Measure all, and print and draw it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture")
    asked = parser.parse_args()
    keep_memory()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; medians of {asked.rounds} rounds")
    print("exponents of cost by size, in brackets the last doubling's")
    print(f"{'':>10} {'what grows':>12} {'from':>7} {'to':>9} {'seconds':>17} {'exponent':>13} {'MiB':>17} {'exponent':>13}")
    found = []
    for world in WORLDS:
        for name in WORLDS[world].base:
            found.append(grow(world, name, asked.rounds))
            print(row(found[-1]), flush=True)
    words = [line for growth in found for line in steep(growth)]
    print("\n".join([f"faster than by {STEEP}:", *words]) if words else f"no exponent is above {STEEP}")
    if asked.picture:
        picture(found).savefig(asked.picture, dpi=120)


if __name__ == "__main__":
    main()
