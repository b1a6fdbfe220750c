"""Checkpoints: files of names, arguments and tensors, written whole and safe to load (no pickled code)."""

import os
from pathlib import Path
from typing import Any

import torch

from metarl.errors import CheckpointError
from metarl.files import whole

FORMAT = "metarl-checkpoint"
VERSION = 2
RUN_CHECKPOINT = "checkpoint.pt"
"""The checkpoint's name in a run folder."""


def with_suffix(path: str | os.PathLike[str]) -> Path:
    """Return the path, with ``.pt`` added if it has no suffix."""
    path = Path(path)
    return path if path.suffix else path.with_suffix(".pt")


def plain(value: Any, name: str = "checkpoint") -> Any:
    """Return the value in containers, numbers, strings and tensors only; numpy's arrays and numbers become Python's.

    Raises:
        CheckpointError: something else is in it.
    """
    if value is None or isinstance(value, (torch.Tensor, str, bool)) or type(value) in (int, float):
        return value
    if isinstance(value, dict):
        return {key: plain(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(item, f"{name}[{i}]") for i, item in enumerate(value))
    if hasattr(value, "tolist"):
        return value.tolist()
    raise CheckpointError(f"{name}={value!r} cannot be stored: a checkpoint holds numbers, strings, containers and tensors")


def write(path: str | os.PathLike[str], content: dict[str, Any]) -> Path:
    """Write plain containers and tensors to a file, which appears whole or not at all; return its path.

    Raises:
        CheckpointError: the folder cannot be written, or the content cannot be stored.
    """
    path = with_suffix(path)
    content = plain({"format": FORMAT, "version": VERSION, **content})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial, open(partial, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be written: {error}; choose a writable folder with space") from error
    return path


def read(path: str | os.PathLike[str], map_location: str | torch.device = "cpu") -> dict[str, Any]:
    """Return what ``write`` wrote; a run folder stands for its checkpoint.

    Raises:
        CheckpointError: the file is missing, truncated, or not a metarl checkpoint.
    """
    path = Path(path)
    if path.is_dir():
        path = path / RUN_CHECKPOINT
    elif not path.is_file():
        path = with_suffix(path)
    if not path.is_file():
        raise CheckpointError(
            f"checkpoint {path} does not exist: give the path that save() returned, or a run folder's checkpoint.pt"
        )
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:  # torch raises many kinds for truncated and foreign files
        raise CheckpointError(
            f"checkpoint {path} cannot be read ({type(error).__name__}): it is truncated or was not written by metarl; "
            "use an earlier checkpoint"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"checkpoint {path} was not written by metarl: load it with the library that wrote it")
    version = content.get("version")
    if type(version) is not int or version < 1:
        raise CheckpointError(f"checkpoint {path} is damaged: version={version!r} is not a version; use an earlier one")
    if version > VERSION:
        raise CheckpointError(f"checkpoint {path} has version {version}, newer than {VERSION}: upgrade metarl")
    return content
