"""The nearest neighbour: a class is as near as the nearest of its support examples."""

from typing import ClassVar

import torch
from torch import Tensor

from metarl.adapters.metric.base import DistanceReader
from metarl.adapters.reading import Support


class NearestNeighbour(DistanceReader):
    """Compares queries with every support example; see ``DistanceReader`` for the argument."""

    landmark: ClassVar[str] = "support example"

    def read(self, support: Support) -> tuple[Tensor, Tensor]:
        """Return the embedded examples, shape (examples, features), and their classes as columns."""
        return support.inputs, support.columns

    def landmarks(self, kept: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the embedded support examples."""
        examples, members = kept
        return examples, members.argmax(1)

    def answer(self, queries: Tensor, kept: tuple[Tensor, Tensor]) -> Tensor:
        """Return for each class the similarity to the nearest support example of it, shape (queries, ways)."""
        examples, members = kept
        similarities = self.similarity(queries, examples)
        of_class = members.t() > 0  # (ways, support examples)
        return torch.where(of_class, similarities[:, None], -torch.inf).amax(2)
