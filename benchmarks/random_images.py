"""Few-shot episodes of random pixels, shaped as Omniglot's: their cost is the data set's, and nothing has to be there."""

import torch

from metarl.supervised import ImageEpisodes
from metarl.supervised.images import ImageSet

CLASSES, DRAWINGS, SIDE = 100, 20, 28
"""Classes of every split, and images of each, 28x28 and of one channel."""


def random_images(ways: int, shots: int, queries: int) -> ImageEpisodes:
    """Return episodes whose splits have classes of their own."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (3 * CLASSES * DRAWINGS, 1, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    names = tuple(map(str, range(3 * CLASSES)))
    images = ImageSet(pixels, torch.full((3 * CLASSES,), DRAWINGS), names)
    splits = ("train", "validation", "test")
    classes = {split: range(CLASSES * i, CLASSES * (i + 1)) for i, split in enumerate(splits)}
    return ImageEpisodes(images, classes, ways=ways, shots=shots, queries=queries, rotations="classes")
