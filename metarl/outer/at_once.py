"""How many tasks are differentiated together, and with what kept, where nobody has said it: as many as have room."""

import math
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from metarl.adapters.base import Adapted, Adapter, Meta
from metarl.cores import cores, memory

SHARE = {"cpu": 1 / 16, "cuda": 1 / 2}
"""Of the memory that tasks of one part may fill; ``benchmarks/image_meta_gradient.py`` shows that on a CPU more is slower."""
SMALL = 2**19
"""Bytes of experience and parameters up to which a meta-batch is taken as a whole, unseen: it has room on any machine."""


class Bytes(NamedTuple):
    """What one task's gradient keeps.

    Attributes:
        pieces: what each piece of the replay writes, and at last the query loss.
        passed: what all of them hand on.
    """

    pieces: list[int]
    passed: int

    def kept(self, one_at_a_time: bool) -> int:
        """Return the bytes that are there together: of every piece, or of the largest and what passes between them."""
        return max(self.pieces) + self.passed if one_at_a_time else sum(self.pieces)


_SEEN: "WeakKeyDictionary[Adapter, dict[Any, Bytes]]" = WeakKeyDictionary()


class _Written(TorchDispatchMode):
    """Counts the bytes of all tensors that are written inside it, views apart: about what a derivative keeps."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not getattr(func, "is_view", False):
            self.bytes += sum(leaf.nbytes for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
        return out


def fitting_tasks(
    adapter: Adapter,
    meta: Meta,
    experiences: list[Any],
    query: Any,
    count: int,
    runs: int = 1,
    recompute_steps: bool = False,
) -> int:
    """Return how many of a meta-batch's tasks to differentiate together: as few parts as have room, none larger than need be.

    Args:
        adapter: replays the adaptation.
        meta: the meta-parameters.
        experiences: the support experience.
        query: the query experience.
        count: the number of tasks.
        runs: that are differentiated side by side, and have as much each.
        recompute_steps: the graphs of no two pieces of the replay are there at once.
    """
    if count == 1 or is_small(meta, experiences, query, count, runs):
        return count
    one = _seen(adapter, meta, experiences, query).kept(recompute_steps or adapter.first_order)
    room = max(1, memory_of(meta["theta"].device) // max(1, runs * one))
    return math.ceil(count / math.ceil(count / room))


def one_task_fits(adapter: Adapter, meta: Meta, experiences: list[Any], query: Any, count: int, runs: int = 1) -> bool:
    """Return whether the whole graph of one task has room; see ``fitting_tasks``."""
    if is_small(meta, experiences, query, count, runs):
        return True
    return runs * _seen(adapter, meta, experiences, query).kept(adapter.first_order) <= memory_of(meta["theta"].device)


def is_small(meta: Meta, experiences: list[Any], query: Any, count: int, runs: int = 1) -> bool:
    """Return whether a meta-batch is taken as a whole, unseen; the arguments are ``fitting_tasks``'s."""
    numbers = sum(leaf.nbytes for leaf in _tensors(experiences, query)) + count * sum(value.nbytes for value in meta.values())
    return runs * numbers <= SMALL


def _seen(adapter: Adapter, meta: Meta, experiences: list[Any], query: Any) -> Bytes:
    """Return what ``_bytes_of_one`` does; shapes are looked at once."""
    seen = _SEEN.setdefault(adapter, {})
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in _tensors(experiences, query))
    if shapes not in seen:
        seen[shapes] = _bytes_of_one(adapter, meta, experiences, query)
    return seen[shapes]


def _tensors(experiences: list[Any], query: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves((experiences, query)) if isinstance(leaf, Tensor)]


def memory_of(device: torch.device) -> int:
    """Return the bytes that a part of a meta-batch may fill: a share of the device's, or of this process's part of a CPU's."""
    if device.type == "cuda":
        return int(SHARE["cuda"] * torch.cuda.get_device_properties(device).total_memory)
    return int(SHARE["cpu"] * memory() * min(1.0, torch.get_num_threads() / cores()))  # of fewer threads: one of several


def _bytes_of_one(adapter: Adapter, meta: Meta, experiences: list[Any], query: Any) -> Bytes:
    """Return what the gradient of the first task keeps."""
    experiences, query = tree_map(lambda leaf: leaf[:1], (experiences, query))

    def losses(meta: Meta, adapted: Adapted) -> Tensor:
        return adapter.losses(meta, adapted, query)

    handed: Any = ()
    pieces, passed = [], 0
    for link in (*adapter.replay_chain(experiences, 1), losses):
        with torch.no_grad(), _Written() as written:
            handed = link(meta, handed)
        pieces.append(written.bytes)
        passed += sum(leaf.nbytes for leaf in tree_leaves(handed) if isinstance(leaf, Tensor))
    return Bytes(pieces, passed)
