"""Meta-parameters as one vector, and back."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

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
