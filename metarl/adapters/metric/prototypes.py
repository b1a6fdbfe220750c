"""Prototypical Networks: a class is the mean of its support examples' embeddings.

Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning".
"""

from typing import ClassVar

import torch
from torch import Tensor

from metarl.adapters.metric.base import DistanceReader
from metarl.adapters.reading import Support


class Prototypes(DistanceReader):
    """Compares queries with the means of the classes: eqs. 1 and 2; see ``DistanceReader`` for the argument."""

    landmark: ClassVar[str] = "prototype"

    def read(self, support: Support) -> Tensor:
        """Return the prototypes, shape (ways, features)."""
        return support.columns.t() @ support.inputs / support.columns.sum(0)[:, None]

    def landmarks(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prototypes."""
        return kept, torch.arange(len(kept), device=kept.device)

    def answer(self, queries: Tensor, kept: Tensor) -> Tensor:
        """Return minus the distances to the prototypes, shape (queries, ways)."""
        return self.similarity(queries, kept)
