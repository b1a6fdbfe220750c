"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from metarl.errors import ConfigError


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to; the file appears under its own name, whole, when the block ends without an error."""
    path = Path(path)
    partial = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def require_folder(field: str, path: str | os.PathLike[str]) -> None:
    """Raise ConfigError if a file could not be written there for want of a folder; asked before the work, not after."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"{field}={str(path)!r} is in no folder that exists: make {folder} first")
