r"""Siamese networks: a verifier tells whether two images are of one class, and a query gets that of the surest pair.

Koch, Zemel and Salakhutdinov 2015, "Siamese Neural Networks for One-shot Image Recognition".
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.adapters.metric.base import MetricReader
from metarl.adapters.reading import Support
from metarl.problems.supervised import Loss


class Siamese(MetricReader):
    r"""Verifies pairs: $p = \sigma(\sum_j \alpha_j |h_{1j} - h_{2j}| + b)$ of the twins' features $h$, section 3.1.

    The features are the sigmoids of the embeddings, as those of Koch's last twin layer. Training is verification: the binary
    cross-entropy of the pairs of a query and a support example, in which same and different pairs weigh alike, as in Koch's
    batches, half of which are of the same class. On a task a query is compared with every support example, and a class is as
    sure as the surest of its pairs (eq. 4 of section 4.3, for one example a class). Koch's L2 regularisation is the outer
    optimiser's ``weight_decay``.

    Deviation: the weights start with the deviation 0.2 of the paper's linear layers (section 3.2), but all below nought, as a
    difference speaks against one class: half of the paper's start as if it spoke for it, which costs time to unlearn.

    Args:
        features: the entries of an embedding.
    """

    landmark: ClassVar[str] = "support example"

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(-0.2 * torch.randn(features).abs())
        self.bias = nn.Parameter(0.5 + 0.01 * torch.randn(1))

    def read(self, support: Support) -> tuple[Tensor, Tensor]:
        """Return the examples' features, shape (examples, features), and their classes as columns."""
        return support.inputs.sigmoid(), support.columns

    def landmarks(self, kept: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the support examples' features."""
        examples, columns = kept
        return examples, columns.argmax(1)

    def place(self, queries: Tensor, kept: tuple[Tensor, Tensor]) -> Tensor:
        """Return the queries' features, shape (queries, features)."""
        return queries.sigmoid()

    def verify(self, queries: Tensor, examples: Tensor) -> Tensor:
        """Return the logits of being of one class, shape (queries, examples)."""
        return (queries.sigmoid()[:, None] - examples).abs() @ self.weights + self.bias

    def answer(self, queries: Tensor, kept: tuple[Tensor, Tensor]) -> Tensor:
        """Return the logit of each class's surest pair, shape (queries, ways)."""
        examples, columns = kept
        return torch.where(columns.t() > 0, self.verify(queries, examples)[:, None], -torch.inf).amax(2)

    def loss(self, queries: Tensor, kept: tuple[Tensor, Tensor], targets: Tensor, criterion: Loss) -> Tensor:
        """Return the binary cross-entropy of all pairs of a query and a support example, shape ()."""
        examples, columns = kept
        logits = self.verify(queries, examples)
        same = functional.one_hot(targets.long(), columns.shape[1]).to(logits) @ columns.t()  # (queries, examples)
        as_same, as_different = (same * functional.softplus(-logits)).sum(), ((1 - same) * functional.softplus(logits)).sum()
        return (as_same / same.sum() + as_different / (1 - same).sum().clamp(min=1)) / 2
