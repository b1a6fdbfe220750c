"""TURTLE, Table 4: running times, as ratios to first-order MAML (Huisman et al. 2022, section 5.4)."""

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any

from metarl.commands.image_methods import NETWORK, QUERIES, settings
from metarl.commands.run import Run
from metarl.commands.table import Cell, Measured, Row, Table

PAPER = {
    "LSTM": {1: 4.5 / 3.0, 5: 3.9 / 3.7},
    "LSTM2": {1: 8.6 / 3.0, 5: 12.3 / 3.7},
    "MAML": {1: 5.8 / 3.0, 5: 7.9 / 3.7},
    "TURTLE": {1: 6.0 / 3.0, 5: 8.1 / 3.7},
}
"""Hours of a training divided by first-order MAML's: every method trains on as many tasks."""
ENV = "metarl/MiniImageNet-v0"
ROUNDS = 5


def reading(row: Row, run: Run, scale: float) -> dict[str, Measured]:
    """Time a method's training and first-order MAML's in turn, several rounds of it, on images of noise; return the ratio."""
    shots = int(run.env_kwargs["shots"])
    standard = Run.of(settings("MAML", ENV, shots, {}, NETWORK, first_order=True), seed=run.seed)
    timers = [timer(run, shots), timer(replace(standard, device=run.device), shots)]
    seconds: list[list[float]] = [[], []]
    for _ in range(max(1, round(ROUNDS * scale))):  # in turn, so that a disturbance meets both alike
        for kept, time in zip(seconds, timers, strict=True):
            kept.append(time())
    return {cell.name: Measured(median(seconds[0]) / median(seconds[1])) for cell in row.cells}


def timer(run: Run, shots: int) -> Callable[[], float]:
    """Return what takes one outer step of a run and returns the seconds for a task of it; one step is taken already."""
    import torch

    agent: Any = run.make(env=noise(shots, run.seed))
    agent.learn(1, log_interval=2)
    meta_batch: int = run.options["meta_batch"]

    def seconds_a_task() -> float:
        started = perf_counter()
        agent.learn(1, log_interval=10**9)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return (perf_counter() - started) / meta_batch

    return seconds_a_task


def noise(shots: int, seed: int) -> Any:
    """Return few-shot episodes of noise, 84 x 84 pixels in colour."""
    import torch

    from metarl.supervised import ImageEpisodes
    from metarl.supervised.images import ImageSet

    generator = torch.Generator().manual_seed(seed)
    classes, each = 8, shots + QUERIES
    pixels = torch.randint(256, (classes * each, 3, 84, 84), dtype=torch.uint8, generator=generator)
    images = ImageSet(pixels, torch.full((classes,), each), tuple(map(str, range(classes))))
    return ImageEpisodes(images, {"train": range(classes)}, shots=shots, queries=QUERIES)


TABLE = Table(
    title="TURTLE, Table 4: seconds a training task on 84x84 images, as ratios to first-order MAML's",
    rows=[
        Row(
            f"{shots}-shot, {method}",
            settings(method, ENV, shots, {}, NETWORK),
            (Cell(f"{shots}-shot, {method} / first-order MAML", paper[shots], exam=None),),
        )
        for shots in (1, 5)
        for method, paper in PAPER.items()
    ],
    seeds=1,
    reading=reading,
)
