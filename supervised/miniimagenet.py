"""miniImageNet: 100 classes of ImageNet, 600 photographs of each; 64 classes train, 16 validate and 20 test.

Ravi and Larochelle 2017, "Optimization as a Model for Few-Shot Learning".
"""

import csv
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metarl.errors import DataError
from metarl.supervised.image_episodes import ImageEpisodes
from metarl.supervised.images import Files, find_classes, image_files, join_splits, load_images, resized, split_folders
from metarl.tasks import Split

FOLDERS = ("miniimagenet", "mini-imagenet", "mini_imagenet")
LISTS: Mapping[Split, str] = {"train": "train", "validation": "val", "test": "test"}
"""What the splits' lists are called."""
PER_CLASS = 600
NUMBERED = re.compile(r"n\d{8}(\d+)\.\w+")
"""Ravi and Larochelle's name for a photograph: the WordNet id, and the photograph's place among those of its class."""

Lists = Mapping[Split, Mapping[str, list[str]]]
"""The names of the photographs of every class of every split; none where the first 600 are meant."""


class MiniImageNet(ImageEpisodes):
    """miniImageNet: photographs of 100 classes of ImageNet, 84x84.

    The whole photograph is scaled; see ``ImageEpisodes`` for observation, action and reward.

    ## Arguments
    - `root`: the folder, or the one above it if it is called miniimagenet, mini-imagenet or mini_imagenet, of one of
        - `train`, `val` (or `validation`) and `test`, with a folder of photographs for each class, as MAML's code has them;
        - `images`, with the photographs, and Ravi and Larochelle's `train.csv`, `val.csv` and `test.csv`;
        - ILSVRC2012's training photographs, with a folder for each class named by its WordNet id, either here or in
          `ILSVRC2012_img_train` or `train`; and the classes' lists, if not in `class_lists`.
    - `size`: the photographs' side, or (height, width).
    - `class_lists`: the folder of the lists; `root` unless given. Ravi and Larochelle's csv files choose the photographs too:
      n0153282900000005.jpg is the 5th of n01532829, in the order of the numbers that ILSVRC's names end with, so the class
      folders must be complete. `train.txt`, `val.txt` and `test.txt` (or `miniimagenet_train.txt`, ...), one WordNet id a
      line, choose classes only: the first 600 photographs are taken, which are not Ravi and Larochelle's; those are only in
      their csv files.
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
        class_lists: str | os.PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        decoding = resized(size)
        folder, parts = _find(Path(root), None if class_lists is None else Path(class_lists))
        files, splits = join_splits(parts)
        name = f"miniimagenet-{decoding.size_name}"
        if class_lists is not None:  # other lists choose other photographs of the same folder: a cache for each choice
            name += f"-{_choice(folder, files):08x}"
        super().__init__(load_images(folder, name, files, decoding), splits, **options)


def _choice(folder: Path, files: Files) -> int:
    """Return a checksum of which photographs of the folder are chosen, and for which classes."""
    chosen = [(name, [str(path.relative_to(folder)) for path in photographs]) for name, photographs in files.items()]
    return zlib.crc32(repr(chosen).encode())


def _find(root: Path, class_lists: Path | None) -> tuple[Path, dict[Split, Files]]:
    """Return the folder of the data, and the photographs of the classes of each split.

    Raises:
        DataError: none of the layouts is there, or one is not complete.
    """
    if class_lists is not None and _csv_lists(class_lists) is None and _id_lists(class_lists) is None:
        raise DataError(
            f"class_lists={str(class_lists)!r} holds no lists of classes: put Ravi and Larochelle's train.csv, val.csv and "
            "test.csv there, or train.txt, val.txt and test.txt with one WordNet id a line"
        )
    for folder in (root, *(root / name for name in FOLDERS)):
        folders = split_folders(folder)
        if class_lists is None and len(folders) == len(LISTS):
            return folder, {split: find_classes(path) for split, path in folders.items()}
        listed = _csv_lists(class_lists or folder)
        if listed and (folder / "images").is_dir():
            return folder, _in_one_folder(folder / "images", listed)
        listed = listed or _id_lists(class_lists or folder) or {}
        classes = [name for of_split in listed.values() for name in of_split]
        for photographs in (folder, folder / "ILSVRC2012_img_train", folder / "train"):
            if any((photographs / name).is_dir() for name in classes):
                return folder, _of_ilsvrc(photographs, listed)
    raise DataError(
        f"root={str(root)!r} holds no miniImageNet: put there the archive of 84x84 photographs, images/ with train.csv, "
        "val.csv and test.csv (lists: github.com/twitter-research/meta-learning-lstm/tree/master/data/miniImagenet), or "
        "train/, val/ and test/ with a folder for each class; or fetch ILSVRC2012_img_train.tar, for which image-net.org asks "
        "you to log in, unpack each class into a folder named by its WordNet id, and put the csv files beside the folders, or "
        "elsewhere and pass class_lists"
    )


def _csv_lists(folder: Path) -> Lists | None:
    """Return what the three csv files list; None if they are not all there."""
    paths = {split: folder / f"{name}.csv" for split, name in LISTS.items()}
    return {split: _read_csv(path) for split, path in paths.items()} if all(map(Path.is_file, paths.values())) else None


def _read_csv(path: Path) -> dict[str, list[str]]:
    classes: dict[str, dict[str, None]] = {}  # the inner dictionary is an ordered set
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        rows = csv.DictReader(file, skipinitialspace=True)
        for row in rows:
            if not row.get("filename") or not row.get("label"):
                raise DataError(f"{path}, line {rows.line_num}: expected the columns filename,label; fetch the file again")
            classes.setdefault(row["label"], {})[row["filename"]] = None
    if not classes:
        raise DataError(f"{path} lists no photographs: fetch it again")
    return {name: list(photographs) for name, photographs in classes.items()}


def _id_lists(folder: Path) -> Lists | None:
    """Return what the three text files list; None if they are not all there."""
    for prefix in ("", "miniimagenet_"):
        paths = {split: folder / f"{prefix}{name}.txt" for split, name in LISTS.items()}
        if all(map(Path.is_file, paths.values())):
            return {split: {name: [] for name in path.read_text("utf-8", "replace").split()} for split, path in paths.items()}
    return None


def _in_one_folder(images: Path, listed: Lists) -> dict[Split, Files]:
    present = set(os.listdir(images))
    for split, classes in listed.items():
        for photographs in classes.values():
            for name in photographs:
                if name not in present:
                    raise DataError(f"{name} of {LISTS[split]}.csv is not in {images}: unpack the archive again")
    return {
        split: {label: [images / name for name in photographs] for label, photographs in classes.items()}
        for split, classes in listed.items()
    }


def _of_ilsvrc(photographs: Path, listed: Lists) -> dict[Split, Files]:
    return {
        split: {label: _chosen(photographs / label, names) for label, names in classes.items()}
        for split, classes in listed.items()
    }


def _chosen(folder: Path, names: list[str]) -> list[Path]:
    """Return the photographs of a class that Ravi and Larochelle's names mean; the first 600 if there are no names."""
    photographs = _by_number(folder)
    if not names:
        return photographs[:PER_CLASS]
    chosen = []
    for name in names:
        number = NUMBERED.fullmatch(name)
        if number is None or not 1 <= int(number[1]) <= len(photographs):
            raise DataError(
                f"{name} of the csv files is none of the {len(photographs)} photographs of class {folder.name} in {folder}: "
                f"unpack all of {folder.name}.tar of ILSVRC2012_img_train.tar there"
            )
        chosen.append(photographs[int(number[1]) - 1])
    return chosen


def _by_number(folder: Path) -> list[Path]:
    """Return the photographs of a class in the order of the numbers that their names end with."""
    numbers = {}
    for path in image_files(folder) if folder.is_dir() else []:
        number = re.search(r"(\d+)$", path.stem)
        if number is None:
            raise DataError(f"{path} does not end with a number, as ILSVRC's n01532829_1234.JPEG does: remove it")
        numbers[path] = int(number[1])
    if not numbers:
        raise DataError(f"class {folder.name} of the lists has no photographs in {folder}: unpack {folder.name}.tar there")
    return sorted(numbers, key=lambda path: numbers[path])
