"""What metric readers share: they compare embedded queries with landmarks that the support set has left."""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from metarl.adapters.metric.distances import Distance, similarity_by
from metarl.adapters.reading import SupportReader


class MetricReader(SupportReader):
    """Compares queries with landmarks: prototypes, or the support examples themselves.

    Attributes:
        landmark: what queries are compared with, in words.
        by_direction: whether directions are compared, and lengths are of no account, as by cosines.
    """

    landmark: ClassVar[str]
    by_direction: bool = False

    @abstractmethod
    def landmarks(self, kept: Any) -> tuple[Tensor, Tensor]:
        """Return what queries are compared with, shape (landmarks, features), and the classes of that, shape (landmarks,)."""

    def place(self, queries: Tensor, kept: Any) -> Tensor:
        """Return embedded queries, shape (queries, features), where they are compared with the landmarks: as they are."""
        return queries


class DistanceReader(MetricReader):
    """Compares by a distance that has a name.

    Args:
        distance: by which embeddings are compared.

    Raises:
        ConfigError: an unknown distance.
    """

    def __init__(self, distance: Distance = "squared-euclidean") -> None:
        super().__init__()
        self.similarity = similarity_by(distance)
        self.by_direction = distance == "cosine"
