"""python benchmarks/long_runs.py [--sine N] [--navigation N] [--picture FILE]: whether training stays as quick and as small.

MAML on sine waves with the gradient compiled, 100,000 iterations unless told otherwise, and on navigation by TRPO, 2,000; 0
leaves one out. Each in a process of its own, with its log. A hundred times on the way: seconds of an iteration since the last
look, resident memory, open file descriptors and threads, as Linux tells them. Printed: the last tenth of the looks over the
first, medians after one look that warms up, and the least-squares slope of memory over the same looks.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression, median
from time import perf_counter
from typing import Any

from matplotlib.figure import Figure
from rich.progress import Progress

from metarl.commands.presets import PRESETS
from metarl.commands.run import Run

ITERATIONS = {"sine": 100_000, "navigation": 2000}
LOOKS = 100
FEWEST = 3
"""Iterations of which two looks are left after the first."""
COLUMNS = {
    "seconds": "seconds of an iteration",
    "mebibytes": "resident memory, MiB",
    "files": "open file descriptors",
    "threads": "threads",
}
Look = dict[str, float]


def look(iteration: int, seconds: float) -> Look:
    """Return what this process is like."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files, threads = (len(os.listdir(f"/proc/self/{name}")) for name in ("fd", "task"))
    mebibytes = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    return {"iteration": iteration, "seconds": seconds, "mebibytes": mebibytes, "files": files, "threads": threads}


def work(world: str, iterations: int) -> None:
    """Train, and print a line for every look."""
    agent = Run.of(PRESETS[world][1], agent="maml").make()
    every = max(1, iterations // LOOKS)
    since = perf_counter()

    def looks(local: dict[str, Any], _: Any) -> bool:
        nonlocal since
        if agent.iteration % every == 0:
            print(json.dumps(look(agent.iteration, (perf_counter() - since) / every)), flush=True)
            since = perf_counter()
        return True

    agent.learn(iterations, callback=looks, log_interval=every)


def train(world: str, iterations: int) -> list[Look]:
    """Return the looks at a run in a process of its own."""
    command = [sys.executable, __file__, "work", world, str(iterations)]
    looks: list[Look] = []
    with Progress(transient=True) as progress, subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        bar = progress.add_task(world, total=iterations)
        assert process.stdout is not None
        for line in process.stdout:
            looks.append(json.loads(line))
            progress.update(bar, completed=looks[-1]["iteration"])
    if process.returncode:
        raise SystemExit(process.returncode)
    return looks


def report(world: str, looks: Sequence[Look]) -> None:
    """Print how the last tenth compares with the first, and how memory grows."""
    settled = looks[1:]
    tenth = max(1, len(settled) // 10)
    print(f"{world}: {looks[-1]['iteration']:,.0f} iterations, {len(settled)} looks after the first")
    for name, column in COLUMNS.items():
        first, last = (median(one[name] for one in part) for part in (settled[:tenth], settled[-tenth:]))
        print(f"  {column:>24}: {first:10.4g} in the first tenth, {last:10.4g} in the last: {last / first:.3f} times")
    line = linear_regression([one["iteration"] for one in settled], [one["mebibytes"] for one in settled])
    print(f"  {'memory grows by':>24}: {1000 * line.slope:.3f} MiB in 1,000 iterations", flush=True)


def picture(runs: dict[str, list[Look]]) -> Figure:
    """Draw each run's looks over its iterations, a line of panels a run."""
    figure = Figure(figsize=(3.6 * len(COLUMNS), 2.8 * len(runs)), layout="constrained")
    for line, (world, looks) in zip(figure.subplots(len(runs), len(COLUMNS), squeeze=False), runs.items(), strict=True):
        for axes, (name, column) in zip(line, COLUMNS.items(), strict=True):
            axes.plot([one["iteration"] for one in looks[1:]], [one[name] for one in looks[1:]], marker=".", linewidth=1)
            axes.set_ylim(0, 1.1 * max(one[name] for one in looks[1:]))
            axes.set_title(f"{world}: {column}", fontsize="medium")
            axes.set_xlabel("iteration")
    figure.suptitle("A long run, after the first look")
    return figure


def main() -> None:
    """Train as long as was asked, and report."""
    parser = argparse.ArgumentParser()
    for world, iterations in ITERATIONS.items():
        parser.add_argument(f"--{world}", type=int, default=iterations)
    parser.add_argument("--picture")
    asked = vars(parser.parse_args())
    for world in ITERATIONS:
        if 0 < asked[world] < FEWEST:
            parser.error(f"--{world} {asked[world]} is too short to compare its ends: give at least {FEWEST}, or 0 for none")
    runs = {}
    for world in ITERATIONS:
        if asked[world]:
            runs[world] = train(world, asked[world])
            report(world, runs[world])
    if asked["picture"]:
        picture(runs).savefig(asked["picture"], dpi=120)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2], int(sys.argv[3]))
    else:
        main()
