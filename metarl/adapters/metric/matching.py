r"""Matching Networks: a query's class is the support set's classes, weighted by attention.

Vinyals, Blundell, Lillicrap, Kavukcuoglu and Wierstra 2016, "Matching Networks for One Shot Learning".
"""

from typing import ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from metarl.adapters.metric.base import DistanceReader
from metarl.adapters.metric.distances import Distance
from metarl.adapters.metric.full_context import FullContext
from metarl.adapters.reading import Support
from metarl.errors import require_positive, unknown_name

SoftmaxOver = Literal["examples", "classes"]


class Matched(NamedTuple):
    """What is kept of one task.

    Attributes:
        examples: the support set's embeddings, in its context if that is full, shape (examples, features).
        columns: 1 where an example is of a class, else 0, shape (examples, ways).
    """

    examples: Tensor
    columns: Tensor


class Matching(DistanceReader):
    r"""Attends to the support examples by their similarity to a query: $P(y|x) = \sum_i a(x, x_i) y_i$, eq. 1.

    The attention $a$ is the softmax of the similarities over the support set. Answers are the logarithms of the classes'
    probabilities, so that the cross-entropy of them is the paper's loss. Without full context the order of the support set
    is of no account; with it a recurrent network reads the support set in its order, and another order is another answer.

    Args:
        features: the entries of an embedding.
        distance: by which embeddings are compared; the paper's is cosine.
        scale: what similarities are multiplied with; 1 in the paper. Cosines lie in [-1, 1], so that the softmax of n of them
            can never be surer than $e^2 / (e^2 + n - 1)$: a larger scale lets it be, and learning be faster.
        softmax_over: ``"examples"``, the paper's; ``"classes"``, the softmax over the classes' sums of similarities, as Ravi
            and Larochelle's code of 2017 has it. With one example a class they are the same.
        full_context: embed every support example in the context of all, and every query in that of the support set.
        processing_steps: K, how often a query's embedding reads the support set under full context.

    Raises:
        ConfigError: an unknown name, a scale that is not positive, or a number of steps that is negative or not whole.
    """

    landmark: ClassVar[str] = "support example"

    def __init__(
        self,
        features: int,
        distance: Distance = "cosine",
        scale: float = 1.0,
        softmax_over: SoftmaxOver = "examples",
        full_context: bool = False,
        processing_steps: int = 3,
    ) -> None:
        super().__init__(distance)
        require_positive(scale=scale)
        if softmax_over not in get_args(SoftmaxOver):
            raise unknown_name("softmax_over", softmax_over, get_args(SoftmaxOver))
        self.scale = scale
        self.softmax_over = softmax_over
        self.context = FullContext(features, processing_steps) if full_context else None

    def read(self, support: Support) -> Matched:
        """Return the embedded support set, in its full context if that is wanted."""
        examples = support.inputs if self.context is None else self.context.of_support(support.inputs)
        return Matched(examples, support.columns)

    def landmarks(self, kept: Matched) -> tuple[Tensor, Tensor]:
        """Return the support set's embeddings."""
        return kept.examples, kept.columns.argmax(1)

    def place(self, queries: Tensor, kept: Matched) -> Tensor:
        """Return the queries' embeddings, shape (queries, features), in the context of the support set if that is wanted."""
        return queries if self.context is None else self.context.of_queries(queries, kept.examples)

    def similarities(self, queries: Tensor, kept: Matched) -> Tensor:
        """Return the scaled similarities of queries to support examples, shape (queries, examples)."""
        return self.scale * self.similarity(self.place(queries, kept), kept.examples)

    def attention(self, queries: Tensor, kept: Matched) -> Tensor:
        """Return how much each query attends to each support example, shape (queries, examples); rows sum to one."""
        return self.similarities(queries, kept).softmax(1)

    def answer(self, queries: Tensor, kept: Matched) -> Tensor:
        """Return the logarithms of the classes' probabilities, shape (queries, ways)."""
        similarities = self.similarities(queries, kept)
        if self.softmax_over == "classes":
            return (similarities @ kept.columns).log_softmax(1)
        # sums of probabilities as sums of their logarithms: no probability is too small
        of_class = kept.columns.t() > 0  # (ways, support examples)
        return torch.where(of_class, similarities.log_softmax(1)[:, None], -torch.inf).logsumexp(2)
