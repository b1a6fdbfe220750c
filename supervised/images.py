"""Folders of images as one uint8 tensor, decoded once and kept in a checked cache beside the data."""

import hashlib
import os
import warnings
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from weakref import WeakValueDictionary

import numpy as np
import torch
from filelock import FileLock
from PIL import Image, UnidentifiedImageError
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import InterpolationMode, v2

from metarl.errors import ConfigError, DataError
from metarl.files import whole
from metarl.tasks import Split

CACHE = ".metarl"
"""The folder of the caches, beside the data."""
FORMAT = "metarl-images-1"
WORTH_A_BAR = 2000
"""Images from which on decoding takes long enough for a progress bar."""

Files = Mapping[str, Sequence[Path]]
"""The image files of every class, by the class's name."""


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of classes.

    Attributes:
        images: shape (images, channels, height, width), uint8, class by class.
        counts: how many images each class has, shape (classes,).
        names: the classes' names.
    """

    images: Tensor
    counts: Tensor
    names: tuple[str, ...]


@dataclass(frozen=True)
class Decoding:
    """How an image file becomes pixels.

    Attributes:
        size: (height, width); an image of another size is scaled.
        mode: ``"L"`` for one channel, ``"RGB"`` for three.
        interpolation: of the scaling, with antialiasing.
        inverted: whether black becomes 255, as for ink on paper.
    """

    size: tuple[int, int]
    mode: Literal["L", "RGB"] = "RGB"
    interpolation: Literal["bilinear", "lanczos"] = "bilinear"
    inverted: bool = False

    @property
    def size_name(self) -> str:
        """The size as a part of a cache's name: a square's side, or height x width."""
        height, width = self.size
        return str(height) if height == width else f"{height}x{width}"

    def read(self, path: Path) -> Tensor:
        """Return the pixels, shape (channels, height, width), uint8.

        Raises:
            DataError: the file is not an image, or is broken.
        """
        try:
            with Image.open(path) as file:
                if file.mode.startswith(("I", "F")):
                    raise ValueError("it has more than 8 bits a pixel: convert it")
                transparent = file.mode == "P" and "transparency" in file.info
                image = (file.convert("RGBA") if transparent else file).convert(self.mode)
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
            raise DataError(
                f"image {path} cannot be read ({error}): it is broken or no image; fetch it again, or remove it"
            ) from error
        if image.size != self.size[::-1]:
            image = v2.functional.resize(image, list(self.size), InterpolationMode(self.interpolation))
        pixels: Tensor = v2.functional.pil_to_tensor(image)
        return 255 - pixels if self.inverted else pixels


def find_classes(folder: Path, depth: int = 1) -> dict[str, list[Path]]:
    """Return the image files in every class folder under ``folder``, both in order; hidden and other files are passed over.

    Args:
        folder: where the class folders lie.
        depth: how many levels down; 2 for Omniglot's alphabet/character.

    Raises:
        DataError: there is no such folder, or no class folder with images in it.
    """
    if not folder.is_dir():
        raise DataError(f"root: {folder} is not a folder")
    level = [folder]
    for _ in range(depth):
        level = [Path(entry) for above in level for entry in sorted(e.path for e in os.scandir(above) if e.is_dir())]
        level = [path for path in level if not path.name.startswith(".")]
    classes = {str(path.relative_to(folder)): image_files(path) for path in level}
    classes = {name: files for name, files in classes.items() if files}
    if not classes:
        raise DataError(f"root: {folder} holds no folder with images in it; expected {'FOLDER/' * depth}IMAGE.png")
    return classes


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder, by their extensions, in order."""
    names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    return [folder / name for name in names if name.lower().endswith(IMG_EXTENSIONS)]


def load_images(root: Path, name: str, files: Files, decoding: Decoding) -> ImageSet:
    """Return the images, from the cache if it is there and right, else decoded and put there.

    The cache remembers every file's name, size and time of change, and a checksum of its pixels: a changed folder or a
    damaged cache is decoded anew. It appears whole or not at all, and processes that start together decode once.

    Args:
        root: the data's folder; the cache goes to ``.metarl`` in it, or, if that cannot be written, to the user's own cache.
        name: of the cache.
        files: the image files of every class.
        decoding: how they become pixels.

    Raises:
        DataError: a file that cannot be read as an image.
    """
    fingerprint = _fingerprint(root, files, decoding)
    images = _LOADED.get(fingerprint)
    if images is None:
        images = _load(cache_folder(root.resolve()) / f"{name}.pt", name, files, decoding, fingerprint)
        _LOADED[fingerprint] = images
    return images


_LOADED: WeakValueDictionary[str, ImageSet] = WeakValueDictionary()
"""The images that environments of this process share, by fingerprint."""


def _load(path: Path, name: str, files: Files, decoding: Decoding, fingerprint: str) -> ImageSet:
    images = _read(path, fingerprint)
    if images is not None:
        return images
    with FileLock(f"{path}.lock"):  # the system releases it when its holder is killed
        images = _read(path, fingerprint)
        if images is None:
            for left in path.parent.glob(f".*.{path.name}"):  # of a process that was killed while it wrote
                left.unlink(missing_ok=True)
            images = _decode(name, files, decoding)
            content = {"format": FORMAT, "fingerprint": fingerprint, "checksum": _checksum(images), **vars(images)}
            try:
                with whole(path) as partial:
                    torch.save({**content, "names": list(images.names)}, partial)
            except (OSError, RuntimeError) as error:  # torch's writer raises the latter on a full disk
                warnings.warn(
                    f"the cache {path} cannot be written ({error}): the images will be decoded at every start", stacklevel=2
                )
    return images


def cache_folder(root: Path) -> Path:
    """Return the folder for what we keep beside the data in ``root``: ``.metarl`` in it, or one of the user's if that fails."""
    folder = root / CACHE
    try:
        folder.mkdir(exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = home / "metarl" / hashlib.sha256(str(root).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _fingerprint(root: Path, files: Files, decoding: Decoding) -> str:
    digest = hashlib.sha256(repr((FORMAT, decoding)).encode())
    for name, paths in files.items():
        digest.update(f"\0{name}\0".encode())
        for path in paths:
            try:
                status = path.stat()
            except OSError as error:
                raise DataError(f"image {path} cannot be read ({error}): fetch it again, or remove it") from error
            digest.update(f"{path.relative_to(root)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _read(path: Path, fingerprint: str) -> ImageSet | None:
    """Return what the cache holds; None if it is missing, of other files, or damaged."""
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True)
        if content["format"] != FORMAT or content["fingerprint"] != fingerprint:
            return None
        images = ImageSet(content["images"], content["counts"], tuple(content["names"]))
        return images if content["checksum"] == _checksum(images) else None
    except Exception:  # whatever a missing, truncated or foreign file makes torch.load raise: decode anew
        return None


def _checksum(content: ImageSet) -> int:
    pixels = content.images
    rest = repr((pixels.dtype, tuple(pixels.shape), content.counts.tolist(), content.names))
    return zlib.crc32(np.ascontiguousarray(pixels.numpy()).data, zlib.crc32(rest.encode()))


def _decode(name: str, files: Files, decoding: Decoding) -> ImageSet:
    paths = [path for of_class in files.values() for path in of_class]
    images: Tensor | None = None
    console = Console(stderr=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pixels = pool.map(decoding.read, paths)
        shown = track(
            pixels, f"{name}: decoding, once", len(paths), console=console, transient=True, disable=len(paths) < WORTH_A_BAR
        )
        try:
            for row, image in enumerate(shown):
                if images is None:
                    images = torch.empty(len(paths), *image.shape, dtype=torch.uint8)
                images[row] = image
        except BaseException:  # from the keyboard too
            pool.shutdown(cancel_futures=True)
            raise
    assert images is not None, "every class has an image"
    return ImageSet(images, torch.tensor([len(of_class) for of_class in files.values()]), tuple(files))


def resized(size: int | tuple[int, int], mode: Literal["L", "RGB"] = "RGB") -> Decoding:
    """Return the decoding that scales whole images to ``size``, a square's side or (height, width), by bilinear interpolation.

    Raises:
        ConfigError: a size that is not one or two whole numbers above zero.
    """
    sides = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ConfigError(f"size={size!r} must be a whole number above zero, or two of them: (height, width)")
    return Decoding((sides[0], sides[1]), mode)


def split_folders(root: Path) -> dict[Split, Path]:
    """Return those of the folders ``train``, ``val`` or ``validation``, and ``test`` that have folders in them, by split.

    Raises:
        DataError: both names of the validation split are there.
    """
    names: dict[str, Split] = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
    folders: dict[Split, Path] = {}
    for name, split in names.items():
        folder = root / name
        if folder.is_dir() and any(path.is_dir() and not path.name.startswith(".") for path in folder.iterdir()):
            if split in folders:
                raise DataError(f"root: {folders[split]} and {folder} are one split by two names: remove one of them")
            folders[split] = folder
    return folders


def join_splits(parts: Mapping[Split, Files]) -> tuple[dict[str, Sequence[Path]], dict[Split, list[int]]]:
    """Return the files of all splits' classes, each split's in order, and the numbers of every split's classes among them.

    Raises:
        DataError: a class that occurs in two splits.
    """
    files: dict[str, Sequence[Path]] = {}
    splits: dict[Split, list[int]] = {}
    for split, classes in parts.items():
        for name in classes:
            if name in files:
                first = next(other for other, theirs in parts.items() if name in theirs)
                raise DataError(f"root: class {name!r} is in split {first!r} and in split {split!r}: keep it in one of them")
        splits[split] = list(range(len(files), len(files) + len(classes)))
        files.update((name, classes[name]) for name in sorted(classes))
    return files, splits
