"""Meta-parameters as one vector, and back; those of several runs as one more axis."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from metarl.adapters.base import Meta


def flatten(values: Iterable[Tensor]) -> Tensor:
    """Return all entries as one vector, shape (n,), cut from the graph."""
    return torch.cat([value.detach().reshape(-1) for value in values])


def split(vector: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return a vector of shape (n,) as tensors of the given ones' shapes."""
    parts = torch.split(vector, [value.numel() for value in like])
    return [part.view_as(value) for part, value in zip(parts, like, strict=True)]


def total_norm(gradients: Meta) -> Tensor:
    """Return the norm of all entries together, shape ()."""
    return torch.stack([value.square().sum() for value in gradients.values()]).sum().sqrt()


def limited(gradients: Meta, norm: Tensor, limit: float) -> Meta:
    """Return gradients of a norm, scaled down to a limit if they are longer."""
    factor = (limit / (norm + 1e-6)).clamp(max=1)
    return {name: factor * value for name, value in gradients.items()}


def stacked(runs: Sequence[Any]) -> Any:
    """Return nests of tensors as one, with the runs that they are of as the first axis."""
    return tree_map(lambda *tensors: torch.stack(tensors), *runs)
