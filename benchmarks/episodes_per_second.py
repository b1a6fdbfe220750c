"""python benchmarks/episodes_per_second.py ROOT: episodes a second on Omniglot, ours beside learn2learn's and torchmeta's ways.

ROOT holds images_background and images_evaluation. Batches of 32 episodes of the training split, 5-way 1-shot, 15 queries a
class, 28x28, float tensors on the device; one thread; in one run, the median of blocks of batches after one that warms up.
Their ways are written here anew, without those libraries, as their code for Omniglot goes to work: image by image in Python.
learn2learn draws a task, loads, scales and turns each of its images, and stacks them: from files, as its benchmark does unless
told otherwise; from decoded images; or from scaled tensors on the device (its OnDeviceDataset). torchmeta makes PIL images of
decoded arrays, turns and scales them, in a DataLoader's two workers.
"""

import os
import random
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import repeat
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate
from torchvision.transforms import Compose, InterpolationMode, RandomRotation, Resize, ToTensor
from torchvision.transforms.functional import rotate

from metarl.supervised import Omniglot
from metarl.supervised.images import find_classes
from metarl.supervised.omniglot import PARTS

BATCH, WAYS, SHOTS, QUERIES = 32, 5, 1, 15
BATCHES, BLOCKS = 4, 5
"""Batches of a block, if they take a second; and blocks."""
ANGLES = (0, 90, 180, 270)
Batches = Iterator[Any]


def ours(env: Omniglot, device: str) -> Batches:
    """Draw batches on the device."""
    generator = torch.Generator(device).manual_seed(0)
    while True:
        yield env.sample_episodes(BATCH, "train", generator)


def invert(image: Tensor) -> Tensor:
    """Make ink 1 and paper 0."""
    return 1 - image


class Files(Dataset):
    """Images and labels, each image opened, decoded and scaled when it is asked for."""

    scale = Compose([Resize(28, InterpolationMode.LANCZOS), ToTensor(), invert])

    def __init__(self, paths: list[list[Path]]) -> None:
        self.items: list[Any] = [(path, label) for label, own in enumerate(paths) for path in own]
        numbers = iter(range(len(self.items)))
        self.indices = [[next(numbers) for _ in own] for own in paths]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.items[index]
        return self.scale(Image.open(path).convert("L")), label


class Decoded(Files):
    """The same of images that were decoded before."""

    def __init__(self, paths: list[list[Path]]) -> None:
        super().__init__(paths)
        self.items = [(Image.open(path).convert("L"), label) for path, label in self.items]

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.items[index]
        return self.scale(image), label


def learn2learn(dataset: Dataset, indices: list[list[int]], device: str) -> Batches:
    """Draw tasks one after another: classes, an angle and images for each, every image on its own; then stack."""
    while True:
        batch = []
        for _ in range(BATCH):
            classes = random.sample(range(len(indices)), WAYS)
            turns = {label: RandomRotation((angle, angle)) for label in classes for angle in [random.choice(ANGLES)]}
            task = []
            for label in classes:
                for index in random.sample(indices[label], SHOTS + QUERIES):
                    image, own = dataset[index]
                    task.append((turns[label](image), classes.index(int(own))))
            batch.append([part.to(device) for part in default_collate(task)])
        yield batch


class Tasks(Dataset):
    """Tasks by their classes; every class is a class of its own in each of four turns, as torchmeta's helper has it."""

    scale = Compose([Resize(28), ToTensor()])

    def __init__(self, arrays: list[np.ndarray]) -> None:
        self.arrays = arrays

    def __getitem__(self, classes: tuple[int, ...]) -> list[list[Tensor]]:
        support, query = [], []
        for target, label in enumerate(classes):
            turn, own = divmod(label, len(self.arrays))
            order = np.random.permutation(len(self.arrays[own]))[: SHOTS + QUERIES]
            for place, index in enumerate(order):
                image = Image.fromarray(self.arrays[own][index])
                image = rotate(image, ANGLES[turn]) if turn else image
                (support if place < SHOTS else query).append((self.scale(image), target))
        return [default_collate(support), default_collate(query)]


def torchmeta(arrays: list[np.ndarray], device: str) -> Batches:
    """Let two workers make batches of tasks ahead of need."""
    labels = range(len(ANGLES) * len(arrays))
    drawn = (random.sample(labels, WAYS) for _ in repeat(None))
    for batch in DataLoader(Tasks(arrays), BATCH, sampler=drawn, num_workers=2):
        yield [[part.to(device) for part in examples] for examples in batch]


def rate(batches: Batches, device: str) -> float:
    """Return the episodes a second, the median of blocks after one that warms up."""
    rates = []
    for _ in range(BLOCKS + 1):
        started, count, seconds = perf_counter(), 0, 0.0
        while count < BATCHES or seconds < 1:
            next(batches)
            if device == "cuda":
                torch.cuda.synchronize()
            count, seconds = count + 1, perf_counter() - started
        rates.append(BATCH * count / seconds)
    return median(rates[1:])


if __name__ == "__main__":
    root = Path(sys.argv[1])
    random.seed(0)
    torch.set_num_threads(1)
    console = Console()
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    with console.status("decoding"):
        env = Omniglot(root, ways=WAYS, shots=SHOTS, queries=QUERIES)
        files = [own for part in PARTS for own in find_classes(root / part, depth=2).values()]
        files = [files[label] for label in env.splits["train"]]
        opened, decoded = Files(files), Decoded(files)
        images, labels = default_collate(list(decoded))
        arrays = [255 - np.stack([np.asarray(decoded.items[index][0]) for index in own]) for own in opened.indices]
    ways: dict[str, Callable[[str], Batches]] = {
        "metarl": partial(ours, env),
        "learn2learn, files": partial(learn2learn, opened, opened.indices),
        "learn2learn, decoded": partial(learn2learn, decoded, opened.indices),
        "learn2learn, on the device": lambda device: learn2learn(
            TensorDataset(images.to(device), labels.to(device)), opened.indices, device
        ),
        "torchmeta, two workers": partial(torchmeta, arrays),
    }
    table = Table(title=f"torch {torch.__version__}, one thread, {os.cpu_count()} cores")
    for column in ("way", "device", "episodes a second", "metarl / it"):
        table.add_column(column, justify="left" if column == "way" else "right")
    for device in devices:
        rates: dict[str, float] = {}
        for name, way in ways.items():
            with console.status(f"{name} on {device}"):
                rates[name] = rate(way(device), device)
            table.add_row(name, device, f"{rates[name]:,.1f}", f"{rates['metarl'] / rates[name]:,.1f}")
    console.print(table)
