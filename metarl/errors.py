"""The errors that metarl raises for bad input: each names the field, the value and the remedy."""

import difflib
import math
from collections.abc import Iterable

import numpy as np


class MetaRLError(Exception):
    """The base of every error that metarl raises on purpose."""


class ConfigError(MetaRLError, ValueError):
    """An argument, option or name that cannot be used."""


class TaskError(MetaRLError, ValueError):
    """A task that does not belong to the family it was given to, or an environment that has no tasks."""


class DataError(MetaRLError, ValueError):
    """A dataset folder or an image file that is missing, broken, or not what it should be."""


class NonFiniteError(MetaRLError, FloatingPointError):
    """A loss, reward or gradient that is infinite or not a number; the outer step was refused."""


class WorkerError(MetaRLError, RuntimeError):
    """A worker process that steps environments raised an exception, stopped, or answered too late."""


class CheckpointError(MetaRLError, RuntimeError):
    """A checkpoint that is missing, truncated, foreign, or made for something else."""


def unknown_name(field: str, value: object, known: Iterable[str]) -> ConfigError:
    """Return the error for a name that is not among ``known``, with the nearest ones first."""
    names = sorted(set(known))
    near = difflib.get_close_matches(str(value), names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return ConfigError(f"{field}={value!r} is not known: {hint}choose one of {', '.join(names) or '(none)'}")


def require_positive(**fields: float) -> None:
    """Raise ConfigError for the first field whose value is not a finite number above zero."""
    for field, value in fields.items():
        if not _is_number(value) or not 0 < value < math.inf:
            raise ConfigError(f"{field}={value!r} must be {'above zero' if _is_number(value) else 'a number above zero'}")


def require_whole(**fields: float) -> None:
    """Raise ConfigError for the first field whose value is not a whole number above zero, of a whole number's type."""
    for field, value in fields.items():
        require_positive(**{field: value})
        if not isinstance(value, (int, np.integer)):
            raise ConfigError(f"{field}={value!r} must be a whole number, such as {max(1, round(value))}")


def require_flag(**fields: bool) -> None:
    """Raise ConfigError for the first field whose value is neither True nor False: "no" would be true."""
    for field, value in fields.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{field}={value!r} must be True or False")


def require_between(low: float, high: float, **fields: float) -> None:
    """Raise ConfigError for the first field whose value lies outside [low, high]."""
    for field, value in fields.items():
        if not _is_number(value) or not low <= value <= high:
            raise ConfigError(f"{field}={value!r} must {'lie' if _is_number(value) else 'be a number'} in [{low:g}, {high:g}]")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
