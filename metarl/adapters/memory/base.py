"""What memory readers share: a support set is a sequence, and each of its examples is predicted before its target is seen."""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from metarl.adapters.reading import Support, SupportReader, Targets
from metarl.errors import ConfigError


def require_targets(reader: SupportReader, support: Support, outputs: int) -> None:
    """Raise ConfigError unless a support set's targets are of the size that a reader, whose inputs they are, was made for."""
    size = support.columns.shape[1]
    if size != outputs:
        raise ConfigError(
            f"ways={size} differ from the {outputs} that {type(reader).__name__} was made for: labels are inputs, so give as "
            "many ways as in training"
        )


class MemoryReader(SupportReader):
    """Reads the support set in the order given, and makes a prediction of every example on the way.

    Targets are inputs, so that a reader is made for their size.
    """

    serves: ClassVar[Targets] = "both"
    follows_ways: ClassVar[bool] = False

    @abstractmethod
    def on_the_way(self, kept: Any) -> Tensor:
        """Return logits or values, shape (support examples, outputs), each made before its own target was seen."""
