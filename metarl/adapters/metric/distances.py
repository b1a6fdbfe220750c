"""Distances between embeddings, by name."""

from collections.abc import Callable
from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional

from metarl.errors import unknown_name

Distance = Literal["squared-euclidean", "cosine"]
Similarity = Callable[[Tensor, Tensor], Tensor]
"""Maps queries and others, shapes (n, features) and (m, features), to shape (n, m): higher is nearer."""


def squared_euclidean(queries: Tensor, others: Tensor) -> Tensor:
    r"""Return $-\|q - o\|^2$ for each of (n, features) and (m, features), shape (n, m)."""
    return -(queries[:, None] - others[None]).square().sum(-1)


def cosine(queries: Tensor, others: Tensor) -> Tensor:
    """Return the cosines between each of (n, features) and (m, features), shape (n, m)."""
    return functional.normalize(queries, dim=1) @ functional.normalize(others, dim=1).t()


_SIMILARITIES: dict[str, Similarity] = {"squared-euclidean": squared_euclidean, "cosine": cosine}


def similarity_by(distance: Distance) -> Similarity:
    """Return how near two embeddings are by a distance.

    Raises:
        ConfigError: an unknown distance.
    """
    if distance not in get_args(Distance):
        raise unknown_name("distance", distance, get_args(Distance))
    return _SIMILARITIES[distance]
