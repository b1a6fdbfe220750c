"""Images of a user, a folder for each class."""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metarl.errors import ConfigError, DataError
from metarl.supervised.image_episodes import ImageEpisodes
from metarl.supervised.images import find_classes, join_splits, load_images, resized, split_folders
from metarl.tasks import Split


class ImageFolder(ImageEpisodes):
    """A user's images, a folder for each class.

    They are `root/CLASS/IMAGE.png` or `root/train/CLASS/IMAGE.png`.

    See ``ImageEpisodes`` for observation, action and reward.

    ## Arguments
    - `root`: the folder of the class folders; or of `train`, and beside it `val` (or `validation`) and `test` if there are
      any, with the class folders of each split. A split without a folder is empty.
    - `size`: the side of the square, or (height, width), to which the whole image is scaled.
    - `channels`: 3 for colour, 1 for grey; images of the other kind are converted.
    - `fractions`: of the classes for training, validation and testing, where there are no split folders.
    - `seed`: of that division.
    - `ways`, `train_ways`, `shots`, `train_shots`, `queries`, `train_queries`, `unlabelled`, `train_unlabelled`, `distractors`,
      `labelled`, `label_seed`, `split`, `rotations`, `reduction`, `normalisation`, `distortions`: see ``ImageEpisodes``.

    ## Version history
    - v0: the first.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = "data",
        *,
        size: int | tuple[int, int] = 84,
        channels: int = 3,
        fractions: tuple[float, float, float] = (0.64, 0.16, 0.2),
        seed: int = 0,
        **options: Any,
    ) -> None:
        if channels not in (1, 3):
            raise ConfigError(f"channels={channels!r} must be 1 (grey) or 3 (colour)")
        _require_fractions(fractions)
        decoding = resized(size, "L" if channels == 1 else "RGB")
        folder = Path(root)
        folders = split_folders(folder)
        if "train" in folders:
            files, splits = join_splits({split: find_classes(path) for split, path in folders.items()})
        else:
            try:
                files = dict(find_classes(folder))
            except DataError as error:
                raise DataError(
                    f"root={str(root)!r} holds no images in class folders: put them in CLASS/IMAGE.png there, or in "
                    "train/CLASS/IMAGE.png, val/CLASS/IMAGE.png and test/CLASS/IMAGE.png"
                ) from error
            splits = split_classes(len(files), fractions, seed)
        height, width = decoding.size
        images = load_images(folder, f"images-{height}x{width}x{channels}", files, decoding)
        super().__init__(images, {"train": [], "validation": [], "test": [], **splits}, **options)


def _require_fractions(fractions: Sequence[float]) -> None:
    try:
        right = len(fractions) == 3 and min(fractions) >= 0 and math.isclose(sum(fractions), 1)
    except TypeError:
        right = False
    if not right:
        raise ConfigError(f"fractions={fractions!r} must be three numbers that sum to 1, none below 0")


def split_classes(count: int, fractions: tuple[float, float, float], seed: int) -> dict[Split, list[int]]:
    """Return the numbers of each split's classes, shuffled by ``seed``; what rounding leaves is for training."""
    order = np.random.default_rng(seed).permutation(count).tolist()
    validation = round(count * fractions[1])
    held_out = round(count * (fractions[1] + fractions[2]))
    return {
        "train": sorted(order[held_out:]),
        "validation": sorted(order[:validation]),
        "test": sorted(order[validation:held_out]),
    }
