"""SNAIL: the support set is a sequence, and a query the position after it.

Mishra, Rohaninejad, Chen and Abbeel 2018, "A Simple Neural Attentive Meta-Learner".
"""

from collections.abc import Sequence
from typing import Any, ClassVar, cast, get_args

import torch
from torch import Tensor, nn

from metarl.adapters.memory.association import Start, associate_by_attention
from metarl.adapters.memory.base import require_targets
from metarl.adapters.memory.causal import AttentionBlock, interleaved
from metarl.adapters.reading import Support, SupportReader, Targets
from metarl.errors import ConfigError, require_whole, unknown_name


class SNAIL(SupportReader):
    """Reads the support set by causal convolutions and attention in turn, and answers from the position after it.

    The first and every other block is attention, a TC block stands between two. An example is its embedding and its target,
    a query its embedding and a target of zeros. The support set's own activations do not depend on what comes after them:
    they are computed once, and every query is the next position of the same sequence, which no other query sees.

    Args:
        features: the entries of an embedding.
        outputs: the ways, or the numbers of a target.
        length: T, the positions of the longest sequence: the support examples and a query.
        filters: D of the TC blocks.
        key_sizes: of each attention block.
        value_sizes: of each attention block.
        start: of the weights: ``"random"``, or ``"associative"``, see ``associate_by_attention``.

    Raises:
        ConfigError: a size that is not a whole number above zero or too small for the start, other numbers of key and value
            sizes, a length without a support example, or an unknown ``start``.
    """

    serves: ClassVar[Targets] = "both"
    follows_ways: ClassVar[bool] = False

    def __init__(
        self,
        features: int,
        outputs: int,
        length: int,
        filters: int = 128,
        key_sizes: Sequence[int] = (64, 256, 512),
        value_sizes: Sequence[int] = (32, 128, 256),
        start: Start = "random",
    ) -> None:
        super().__init__()
        if start not in get_args(Start):
            raise unknown_name("start", start, get_args(Start))
        require_whole(length=length)
        if length < 2:
            raise ConfigError(f"length={length!r} leaves no room for a support example before the query: give at least 2")
        self.body = interleaved(features + outputs, length, filters, key_sizes, value_sizes)
        self.head = nn.Linear(self.body.channels, outputs)
        self.length = length
        if start == "associative":
            associate_by_attention(self.first, self.head, outputs)

    def read(self, support: Support) -> list[Any]:
        """Return what each block keeps of the support set.

        Raises:
            ConfigError: more support examples than there are positions before the query, or targets of another size than it
                was made for.
        """
        require_targets(self, support, self.head.out_features)
        examples = len(support.inputs)
        if examples >= self.length:
            raise ConfigError(
                f"length={self.length} holds {self.length - 1} support examples and a query, but the support set has "
                f"{examples}: give length={examples + 1} or more when the agent is made, or fewer shots"
            )
        return self.body.read(torch.cat([support.inputs, support.columns], dim=1))[1]

    def answer(self, queries: Tensor, kept: list[Any]) -> Tensor:
        """Return logits or values at the position after the support set, shape (queries, outputs)."""
        outputs: Tensor = self.head(self.body.next(self._unlabelled(queries), kept))
        return outputs

    def attention(self, queries: Tensor, kept: list[Any]) -> Tensor:
        """Return how much the queries attend to each support example in the first block, shape (queries, examples).

        What a row lacks to one the query attends to itself.
        """
        return self.first.attention(self._unlabelled(queries), kept[0])[:, :-1]

    @property
    def first(self) -> AttentionBlock:
        """The first block."""
        return cast(AttentionBlock, self.body.in_order[0])

    def _unlabelled(self, queries: Tensor) -> Tensor:
        return torch.cat([queries, queries.new_zeros(len(queries), self.head.out_features)], dim=1)
