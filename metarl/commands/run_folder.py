"""What a run folder holds, and whether another run is the one that it holds."""

import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metarl.commands.run import Run

CONFIG = "config.json"
EVALUATION = "evaluation.json"
SOFTWARE = ("metarl", "torch", "numpy", "gymnasium", "stable-baselines3", "mujoco", "metaworld")
"""Packages whose versions config.json keeps."""
MAY_CHANGE = {"iterations", "root"}
"""What a resumed run need not have in common with the run in the folder."""
ALWAYS_THE_SAME = {"agent", "env", "policy", "seed", "dtype"}
"""What is compared with a folder that an earlier version left, whose other options were written in another way."""


def versions() -> dict[str, str]:
    """Return the versions of Python, of metarl, and of what it computes with, as far as it is installed."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in SOFTWARE:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def differences(there: Mapping[str, Any], run: "Run") -> list[str]:
    """Return in which options a folder's config.json differs from a run, with both values.

    An option that is not there was not yet known when the folder was made, and differs from nothing.
    """
    here = json.loads(json.dumps(run.as_dict()))
    compared = {name for name in here if name not in MAY_CHANGE and ("options" in there or name in ALWAYS_THE_SAME)}
    pairs = ({name: there[name] for name in compared if name in there}, {name: here[name] for name in compared})
    return [f"{name} ({old!r} there, {new!r} here)" for name, old, new in _differences(*pairs)]


def _differences(there: Any, here: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in sorted(there.keys() & here.keys()):
            yield from _differences(there[key], here[key], f"{name}.{key}".lstrip("."))
        if "kwargs" in name and there.keys() != here.keys():
            yield name, there, here
    elif there != here:
        yield name, there, here
