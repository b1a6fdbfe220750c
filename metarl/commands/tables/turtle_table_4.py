"""TURTLE, Table 4: running times, as ratios to first-order MAML (Huisman et al. 2022, section 5.4)."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch

from metarl.commands.tables.cell import Cell, Measured
from metarl.commands.tables.turtle_table_1 import NETWORK, QUERIES, protocol
from metarl.supervised import ImageEpisodes
from metarl.supervised.images import ImageSet

TITLE = "TURTLE, Table 4: seconds a training task on 84x84 images, as ratios to first-order MAML's"
PAPER = {
    "LSTM": {1: 4.5 / 3.0, 5: 3.9 / 3.7},
    "LSTM2": {1: 8.6 / 3.0, 5: 12.3 / 3.7},
    "MAML": {1: 5.8 / 3.0, 5: 7.9 / 3.7},
    "TURTLE": {1: 6.0 / 3.0, 5: 8.1 / 3.7},
}
"""Hours of a training divided by first-order MAML's: every method trains on as many tasks."""
DEFAULT_SEEDS = 1
ROUNDS = 5


def cells() -> list[Cell]:
    """Return the table's cells."""
    return [
        Cell(f"{shots}-shot", f"{shots}-shot, {method} / first-order MAML", paper[shots])
        for shots in (1, 5)
        for method, paper in PAPER.items()
    ]


def measure(run_name: str, seed: int, scale: float) -> dict[str, Measured]:
    """Time every method's training in turn, several rounds of it, on images of noise; return the ratios of the medians."""
    shots = int(run_name[0])
    generator = torch.Generator().manual_seed(seed)
    classes, each = 8, shots + QUERIES
    pixels = torch.randint(256, (classes * each, 3, 84, 84), dtype=torch.uint8, generator=generator)
    images = ImageSet(pixels, torch.full((classes,), each), tuple(map(str, range(classes))))
    env = ImageEpisodes(images, {"train": range(classes)}, shots=shots, queries=QUERIES)

    def made(method: str, first_order: bool = False) -> Callable[[], float]:
        kind, kwargs = protocol(method, shots)
        given = {"policy_kwargs": NETWORK, "seed": seed, **kwargs, **({"first_order": True} if first_order else {})}
        agent = kind("Conv4", env, **given)
        agent.learn(1, log_interval=2)

        def seconds_a_task() -> float:
            started = perf_counter()
            agent.learn(1, log_interval=10**9)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            return (perf_counter() - started) / agent.meta_batch

        return seconds_a_task

    timers = {"": made("MAML", first_order=True), **{method: made(method) for method in PAPER}}
    rounds = max(1, round(ROUNDS * scale))
    seconds: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):  # in turn, so that a disturbance meets all alike
        for name, timer in timers.items():
            seconds[name].append(timer())
    return {
        f"{run_name}, {method} / first-order MAML": Measured(median(seconds[method]) / median(seconds[""])) for method in PAPER
    }
