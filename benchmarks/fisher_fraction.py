"""python benchmarks/fisher_fraction.py OUT.png: do Fisher products on a fraction of the time-steps harm learning?

Trains MAML on 2D navigation with the same seeds and different fractions; prints and draws the validation return after one step.
"""

import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from matplotlib.figure import Figure

from metarl.commands.presets.navigation import NAVIGATION
from metarl.commands.run import Run

FRACTIONS = (1.0, 0.2)
SEEDS, ITERATIONS, EVERY = 2, 12, 3


def curve(fraction: float, seed: int) -> list[float]:
    """Return the validation return after every few iterations."""
    torch.set_num_threads(1)
    agent = Run.of({**NAVIGATION, "trpo.fisher_fraction": fraction}, agent="maml", seed=seed).make()
    return [agent.learn(EVERY).validate() for _ in range(ITERATIONS // EVERY)]


if __name__ == "__main__":
    with ProcessPoolExecutor(torch.get_num_threads(), mp_context=get_context("spawn")) as pool:
        futures = {f: [pool.submit(curve, f, seed) for seed in range(SEEDS)] for f in FRACTIONS}
        curves = {fraction: [future.result() for future in runs] for fraction, runs in futures.items()}
    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    iterations = list(range(EVERY, ITERATIONS + 1, EVERY))
    for color, (fraction, runs) in zip(("tab:blue", "tab:orange"), curves.items(), strict=True):
        means = [statistics.fmean(column) for column in zip(*runs, strict=True)]
        for one in runs:
            ax.plot(iterations, one, color=color, alpha=0.3, linewidth=0.8)
        ax.plot(iterations, means, color=color, label=f"{fraction:.0%} of the time-steps")
        print(f"{fraction:4.0%}", " ".join(f"{value:7.2f}" for value in means))
    ax.set(xlabel="outer iterations", ylabel="validation return after one step", title=f"Fisher products, {SEEDS} seeds")
    ax.legend()
    figure.savefig(sys.argv[1] if len(sys.argv) > 1 else "fisher_fraction.png", dpi=120)
