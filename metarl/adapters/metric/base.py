"""What metric readers share: they compare embedded queries with landmarks that the support set has left."""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from metarl.adapters.reading import SupportReader


class MetricReader(SupportReader):
    """Compares queries with landmarks: prototypes, or the support examples themselves.

    Attributes:
        landmark: what queries are compared with, in words.
    """

    landmark: ClassVar[str]

    @abstractmethod
    def landmarks(self, kept: Any) -> tuple[Tensor, Tensor]:
        """Return what queries are compared with, shape (landmarks, features), and the classes of that, shape (landmarks,)."""
