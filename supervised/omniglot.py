"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings of each.

Lake, Salakhutdinov and Tenenbaum 2015, "Human-level concept learning through probabilistic program induction".
"""

import os
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal, get_args
from zipfile import BadZipFile

import numpy as np
from filelock import FileLock
from torchvision import datasets

from metarl.errors import DataError, unknown_name
from metarl.supervised.image_episodes import ImageEpisodes
from metarl.supervised.image_sampler import Rotations
from metarl.supervised.images import cache_folder, find_classes, load_images, resized
from metarl.tasks import Split

Characters = Literal["maml", "vinyals", "lake"]
Within = Literal["all", "alphabet"]
PARTS = ("images_background", "images_evaluation")
ARCHIVES = "images_background.zip and images_evaluation.zip of github.com/brendenlake/omniglot"
CHARACTERS = 1623
TRAINING, VALIDATION = 1200, 100
"""MAML's 1,200 characters for training, of which its code keeps 100 for validation."""
VALIDATION_ALPHABETS = ("Hebrew", "Mkhedruli_(Georgian)", "Armenian", "Early_Aramaic", "Bengali")
"""Vinyals' 172 characters for validation, as Prototypical Networks' code has them."""


class Omniglot(ImageEpisodes):
    """Omniglot: 1,623 handwritten characters of 50 alphabets, 28x28 unless asked.

    Ink is 1 on paper of 0; see ``ImageEpisodes`` for observation, action and reward.

    ## Arguments
    - `root`: the folder that holds `images_background` and `images_evaluation`, or torchvision's root (with `omniglot-py`).
    - `download`: let torchvision fetch the official archives into `root` if they are not there.
    - `characters`: how they are split: `"maml"`, 1,100 for training, 100 for validation and 423 for testing, drawn by `seed`
      whatever their alphabet; `"vinyals"`, 1,028, 172 and 423 in the official order (validation: five alphabets); `"lake"`,
      the background alphabets (without those five, 792; validation 172) against the evaluation alphabets (659).
    - `seed`: of MAML's split.
    - `within`: where an episode's characters are from: `"all"` alphabets, or one `"alphabet"`, drawn for each episode, as Lake
      et al. test. Every alphabet is as likely; those with fewer characters (of the split, in all rotations that are classes)
      than the episode has ways are passed over.
    - `drawers`: `"different"`: the support images are by people who drew no query image, and the k-th of each character by one
      person: with one shot and one query Lake et al.'s trials, one drawer against another. The same twenty people drew all
      characters of an alphabet, and only those, so it needs `within="alphabet"`. `"any"` otherwise.
    - `size`: the drawings' side: 28 as in most papers; 105, the original, for Koch et al.'s network; 20 for Santoro et al.'s
      memory. Without `rotations` a quarter of the memory is needed: 360 MB at 105.
    - `rotations`: `"classes"` as in the papers unless given; see ``ImageEpisodes``.
    - `ways`, `train_ways`, `shots`, `train_shots`, `queries`, `train_queries`, `unlabelled`, `train_unlabelled`, `distractors`,
      `labelled`, `label_seed`, `split`, `reduction`, `distortions`: see ``ImageEpisodes``.

    ## Version history
    - v0: the first.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = "data",
        *,
        download: bool = False,
        characters: Characters = "maml",
        seed: int = 1,
        within: Within = "all",
        size: int = 28,
        rotations: Rotations = "classes",
        **options: Any,
    ) -> None:
        if characters not in get_args(Characters):
            raise unknown_name("characters", characters, get_args(Characters))
        if within not in get_args(Within):
            raise unknown_name("within", within, get_args(Within))
        decoding = replace(resized(size, "L"), interpolation="lanczos", inverted=True)
        if download:
            _download(Path(root))
        folder = _folder(Path(root))
        files = {
            f"{part}/{name}": drawings for part in PARTS for name, drawings in find_classes(folder / part, depth=2).items()
        }
        images = load_images(folder, f"omniglot-{decoding.size_name}", files, decoding)
        groups = [name.rpartition("/")[0] for name in images.names] if within == "alphabet" else None
        splits = split_characters(images.names, characters, seed)
        super().__init__(images, splits, rotations=rotations, groups=groups, **options)


def _download(root: Path) -> None:
    """Let torchvision fetch and unpack what is not there; processes that start together do it one after another.

    Raises:
        DataError: no network, a damaged archive, or a folder that cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder = cache_folder(root.resolve())
        begun = folder / "omniglot-download.begun"
        with FileLock(folder / "omniglot-download.lock"):  # the system releases it when its holder is killed
            if begun.exists():  # someone was stopped midway: torchvision takes an archive that is there for unpacked
                for archive in root.glob("omniglot-py/images_*.zip"):
                    archive.unlink()
            begun.touch()
            for background in (True, False):
                datasets.Omniglot(str(root), background, download=True)
            begun.unlink()
    except (OSError, HTTPException, RuntimeError, BadZipFile) as error:  # urllib raises OSErrors, torchvision RuntimeErrors
        raise DataError(
            f"download=True: Omniglot cannot be fetched into root={str(root)!r} ({error}): try again, or unpack "
            f"{ARCHIVES} there and leave download out"
        ) from error


def _folder(root: Path) -> Path:
    """Return the folder that holds the official ones.

    Raises:
        DataError: it is not there.
    """
    for folder in (root, root / "omniglot-py", root / "omniglot", root / "python"):
        if all((folder / part).is_dir() for part in PARTS):
            return folder
    raise DataError(f"root={str(root)!r} holds no Omniglot: unpack {ARCHIVES} there, or pass download=True")


def split_characters(names: tuple[str, ...], characters: Characters, seed: int = 1) -> dict[Split, list[int]]:
    """Return the numbers of the characters of each split, by their names (part/alphabet/character) in the official order."""
    held_out = [i for i, name in enumerate(names) if name.split("/")[1] in VALIDATION_ALPHABETS]
    if characters == "maml":
        order = np.random.default_rng(seed).permutation(len(names)).tolist()
        training = round(len(names) * TRAINING / CHARACTERS)
        validation = round(len(names) * VALIDATION / CHARACTERS)
        return {
            "train": sorted(order[: training - validation]),
            "validation": sorted(order[training - validation : training]),
            "test": sorted(order[training:]),
        }
    if characters == "vinyals":
        training = round(len(names) * TRAINING / CHARACTERS)
    else:
        training = sum(name.startswith(PARTS[0]) for name in names)
    return {
        "train": [i for i in range(training) if i not in set(held_out)],
        "validation": held_out,
        "test": list(range(training, len(names))),
    }
