"""Which images have labels: the label split of a training set.

Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle and Zemel 2018, "Meta-Learning for Semi-Supervised Few-Shot
Classification", section 4.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metarl.tasks import Split, split_index


class LabelSplit(NamedTuple):
    """Which images may be shown with their labels.

    Attributes:
        order: the images' rows, class by class, those with labels first, shape (images,).
        labelled: how many of each class those are, shape (classes,).
        unlabelled_from: the place in its class from which on an image may be shown without its label, shape (classes,).
        split_of: the number of the split that each class is of, or -1, shape (classes,): distractors are of a task's split.
        fraction: of each training class's images, those that have labels.
    """

    order: Tensor
    labelled: Tensor
    unlabelled_from: Tensor
    split_of: Tensor
    fraction: float

    def to(self, device: torch.device) -> "LabelSplit":
        """Return the same on a device."""
        order, labelled, unlabelled_from, split_of = (part.to(device) for part in self[:4])
        return LabelSplit(order, labelled, unlabelled_from, split_of, self.fraction)


def split_labels(counts: Tensor, splits: Mapping[Split, Sequence[int]], fraction: float, seed: int) -> LabelSplit:
    """Return which images have labels: a fraction of those of each training class, and all of every other class.

    Where some images have no labels, only these are shown without; elsewhere any may be.

    Args:
        counts: how many images each class has, shape (classes,); they lie class by class.
        splits: the numbers of each split's classes.
        fraction: of a class's images, rounded.
        seed: of the split; 1 as a fraction leaves the images in their order.
    """
    order, labelled, start = torch.arange(int(counts.sum())), counts.clone(), torch.zeros_like(counts)
    if fraction < 1:
        generator = np.random.default_rng(seed)
        starts = (counts.cumsum(0) - counts).tolist()
        for number in splits["train"]:
            first, count = starts[number], int(counts[number])
            order[first : first + count] = first + torch.from_numpy(generator.permutation(count))
            labelled[number] = start[number] = round(count * fraction)
    split_of = torch.full_like(counts, -1)
    for name, numbers in splits.items():
        split_of[list(numbers)] = split_index(name)
    return LabelSplit(order, labelled, start, split_of, fraction)
