"""What memory readers share: a support set is a sequence, and each of its examples is predicted before its target is seen."""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from metarl.adapters.reading import SupportReader, Targets


class MemoryReader(SupportReader):
    """Reads the support set in the order given, and makes a prediction of every example on the way.

    Targets are inputs, so that a reader is made for their size.
    """

    serves: ClassVar[Targets] = "both"
    follows_ways: ClassVar[bool] = False

    @abstractmethod
    def on_the_way(self, kept: Any) -> Tensor:
        """Return logits or values, shape (support examples, outputs), each made before its own target was seen."""
