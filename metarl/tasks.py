"""What a task is: named arrays within bounds, or an episode of examples; and the splits that tasks are drawn from."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metarl.errors import TaskError, unknown_name

Array = NDArray[Any]
Task = dict[str, Array]
"""A task of our families, such as ``{"goal": array([0.3, -0.2])}``."""
Bounds = Mapping[str, tuple[Array, Array]]
"""The lowest and the highest values of every entry of a task, in the entry's own dtype."""
Split = Literal["train", "validation", "test"]


MANY = 100
"""Numbers of a task's entry beyond which an error does not list them."""


class Examples(NamedTuple):
    """Inputs and their targets, each of shape (tasks, examples, ...)."""

    inputs: Tensor
    targets: Tensor


class Episodes(NamedTuple):
    """The support and the query sets of a batch of few-shot tasks.

    Attributes:
        support: labelled examples to adapt to.
        query: examples that adaptation is judged by.
        unlabelled: nothing, or further inputs to adapt to, without targets, shape (tasks, unlabelled examples, ...).
        unlabelled_targets: nothing, or what those are of: their class, or the number of ways where it is none of the episode's,
            shape (tasks, unlabelled examples). For pictures and measures; no learner is shown it.
    """

    support: Examples
    query: Examples
    unlabelled: tuple[Tensor, ...] = ()
    unlabelled_targets: tuple[Tensor, ...] = ()


def flat_task(task: Any) -> Array:
    """Return a task as one vector of float32: the entries of a dictionary one after another, or the numbers that it is.

    Raises:
        TaskError: it is not made of numbers.
    """
    entries = list(task.values()) if isinstance(task, Mapping) else [task]
    try:
        return np.concatenate([np.asarray(entry, np.float32).ravel() for entry in entries])
    except (TypeError, ValueError) as error:
        raise TaskError(f"task={task!r} cannot be told: it is not made of numbers") from error


def split_index(split: str) -> int:
    """Return the split's number.

    Raises:
        ConfigError: an unknown split.
    """
    if split not in get_args(Split):
        raise unknown_name("split", split, get_args(Split))
    return get_args(Split).index(split)


def require_known_options(options: Mapping[str, Any] | None, *known: str) -> None:
    """Raise ConfigError if ``reset`` was given other options than those known: ``"task"``, unless others are named."""
    for name in options or {}:
        if name not in (known or ("task",)):
            raise unknown_name("an option of reset", name, known or ("task",))


def check_task(family: str, task: Mapping[str, Any], bounds: Bounds) -> Task:
    """Return a task's entries as arrays of their bounds' dtypes.

    Raises:
        TaskError: a missing, unknown, misshapen or out-of-range entry.
    """
    if not isinstance(task, Mapping) or set(task) != set(bounds):
        entries = ", ".join(f"{name!r}: array of shape {low.shape}" for name, (low, _) in bounds.items())
        raise TaskError(f"task={task!r} is not a task of {family}: give a dictionary {{{entries}}}")
    checked = {}
    for name, (low, high) in bounds.items():
        try:
            value = np.array(task[name], dtype=low.dtype)
        except (TypeError, ValueError) as error:
            raise TaskError(f"task[{name!r}]={task[name]!r} is not numeric: give {low.size} numbers") from error
        if low.dtype.kind == "i" and not np.array_equal(value, np.asarray(task[name])):
            raise TaskError(f"task[{name!r}]={task[name]!r} are not whole numbers")
        if value.shape == () and low.shape == (1,):
            value = value[None]  # a single number may be written as one
        if value.shape != low.shape:
            raise TaskError(f"task[{name!r}]={task[name]!r} has shape {value.shape}; {family} needs {low.shape}")
        if not ((value >= low) & (value <= high)).all():
            raise TaskError(f"task[{name!r}]={_shown(value)} is outside {family}: choose from {_shown(low)} to {_shown(high)}")
        checked[name] = value
    return checked


def _shown(value: Array) -> str:
    """Return an entry as an error shows it: its numbers, or what they lie between where they are many."""
    return str(value.tolist()) if value.size <= MANY else f"numbers from {value.min():g} to {value.max():g}"
