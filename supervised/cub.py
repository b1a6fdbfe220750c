"""CUB-200-2011: 11,788 photographs of 200 species of birds.

Wah, Branson, Welinder, Perona and Belongie 2011, "The Caltech-UCSD Birds-200-2011 Dataset".
"""

import os
import re
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from metarl.errors import DataError, unknown_name
from metarl.supervised.image_episodes import ImageEpisodes
from metarl.supervised.images import find_classes, load_images, resized
from metarl.tasks import Split

Division = Literal["chen", "turtle"]
SPECIES = re.compile(r"\d{3}\.")
"""How the name of a class folder begins: 001.Black_footed_Albatross."""
TURTLE_SEED = 1337


class CUB(ImageEpisodes):
    """CUB-200-2011: photographs of 200 species of birds, 84x84.

    The whole photograph is scaled; see ``ImageEpisodes`` for observation, action and reward.
    TURTLE's code drops the photographs that are not in colour; here they are converted. Chen et al. crop and jitter the
    photographs that they train on, and the middle of those they test on; here nothing is cropped.

    ## Arguments
    - `root`: the folder that holds `CUB_200_2011`, or that folder, or the `images` in it.
    - `classes`: how the species are split, in the order of their numbers: `"chen"`, every second for training, and of the
      others one for validation and one for testing in turn, 100, 50 and 50 (Chen et al. 2019, "A Closer Look at Few-shot
      Classification"); `"turtle"`, 70, 15 and 15 per cent, 140, 30 and 30, shuffled by TURTLE's seed (its code shuffles
      them in the order in which the file system lists them, so that its own species cannot be told).
    - `size`: the photographs' side, or (height, width).
    - `ways`, `train_ways`, `shots`, `train_shots`, `queries`, `train_queries`, `unlabelled`, `train_unlabelled`, `distractors`,
      `labelled`, `label_seed`, `split`, `rotations`, `reduction`, `normalisation`, `distortions`: see ``ImageEpisodes``.

    ## Version history
    - v0: the first.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = "data",
        *,
        classes: Division = "chen",
        size: int | tuple[int, int] = 84,
        **options: Any,
    ) -> None:
        if classes not in get_args(Division):
            raise unknown_name("classes", classes, get_args(Division))
        decoding = resized(size)
        folder = _folder(Path(root))
        images = load_images(folder, f"cub-{decoding.size_name}", find_classes(folder), decoding)
        super().__init__(images, split_species(len(images.names), classes), **options)


def _folder(root: Path) -> Path:
    """Return the folder of the species' folders.

    Raises:
        DataError: it is not there.
    """
    for folder in (root / "CUB_200_2011" / "images", root / "images", root):
        if folder.is_dir() and any(SPECIES.match(path.name) and path.is_dir() for path in folder.iterdir()):
            return folder
    raise DataError(
        f"root={str(root)!r} holds no CUB_200_2011/images: fetch CUB_200_2011.tgz from "
        "data.caltech.edu/records/65de6-vp158 and unpack it there"
    )


def split_species(count: int, classes: Division) -> dict[Split, list[int]]:
    """Return the numbers of the species of each split, counted from 0."""
    if classes == "chen":
        return {"train": list(range(0, count, 2)), "validation": list(range(1, count, 4)), "test": list(range(3, count, 4))}
    order = np.random.RandomState(TURTLE_SEED).permutation(count).tolist()
    training, rest = round(0.7 * count), round(0.85 * count)
    return {"train": sorted(order[:training]), "validation": sorted(order[training:rest]), "test": sorted(order[rest:])}
