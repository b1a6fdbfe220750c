"""One thread for every test: runs are compared bit for bit, and two workers share two cores. Small image data sets."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import torch
from PIL import Image

torch.set_num_threads(1)

ALPHABETS = {
    "images_background": ("Armenian", "Greek", "Hebrew", "Latin", "Tagalog"),
    "images_evaluation": ("Angelic", "Keble", "Tibetan"),
}
IMAGES = 16
"""Of a class: one support image and fifteen query images."""


@pytest.fixture(scope="session")
def image_sets(tmp_path_factory):
    """A folder whose ``data`` holds small data sets in the official layouts: Omniglot, miniImageNet, CUB."""
    folder, rng = tmp_path_factory.mktemp("image_sets"), np.random.default_rng(0)
    data = folder / "data"
    classes = [data / p / a / f"character{c:02d}" for p, own in ALPHABETS.items() for a in own for c in range(1, 5)]
    classes += [data / split / f"n{i:08d}" for i, split in enumerate(5 * ("train",) + 5 * ("val",) + 5 * ("test",))]
    classes += [data / "CUB_200_2011" / "images" / f"{i:03d}.Bird" for i in range(1, 21)]
    for own in classes:
        own.mkdir(parents=True)
        colours = () if own.parents[1].name.startswith("images_") else (3,)
        pattern = rng.integers(0, 2, (6, 6, *colours)) * 255
        for i in range(IMAGES):
            noisy = np.where(rng.random(pattern.shape) < 0.05, 255 - pattern, pattern).astype(np.uint8)
            Image.fromarray(noisy).save(own / f"{own.name}_{i + 1}.png")
    return folder


@pytest.fixture
def image_data(image_sets, monkeypatch):
    """Let ``root="data"``, the default, be the small data sets."""
    monkeypatch.chdir(image_sets)
    return image_sets / "data"
