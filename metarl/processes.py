"""Spreading one meta-batch over the processes of ``torchrun``; with one process every function here is the identity.

Random numbers are drawn for the whole meta-batch by every process from the same generator and then sliced, so N
processes see exactly the noise that one would.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

from metarl.errors import ConfigError

_alone = False


def count() -> int:
    """Return the number of processes that share a meta-batch."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() and not _alone else 1


def rank() -> int:
    """Return this process's number, from 0."""
    return distributed.get_rank() if count() > 1 else 0


@contextmanager
def alone() -> Iterator[None]:
    """Let every process do the whole of what is inside by itself, as evaluation does."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def rows_of_this(tasks: int) -> slice:
    """Return which rows of a meta-batch are this process's.

    Raises:
        ConfigError: the meta-batch cannot be divided evenly.
    """
    if tasks % count():
        raise ConfigError(f"meta_batch={tasks} cannot be divided among {count()} processes; use a multiple of {count()}")
    share = tasks // count()
    return slice(rank() * share, (rank() + 1) * share)


def draw(noise: Callable[[int], Tensor], tasks: int) -> Tensor:
    """Draw noise for all processes' tasks (leading axis) and return the rows of this process's ``tasks``."""
    if count() == 1:
        return noise(tasks)
    return noise(tasks * count())[rank() * tasks : (rank() + 1) * tasks]


def everybodys(value: Tensor) -> Tensor:
    """Return the rows of all processes, in their order, of a detached tensor of the same shape on each."""
    if count() == 1:
        return value
    parts = [torch.empty_like(value) for _ in range(count())]
    distributed.all_gather(parts, value.detach().contiguous())
    return torch.cat(parts)


def mean(value: Tensor) -> Tensor:
    """Return the mean of a detached tensor over the processes, the same on each."""
    if count() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / count()
