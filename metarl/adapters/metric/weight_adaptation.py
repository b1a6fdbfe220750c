"""Linear classification whose weights a user's history sets: Vartak et al. 2017, section 3.1.

"A Meta-Learning Perspective on Cold-Start Recommendations for Items".
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from metarl.adapters.reading import Support, SupportReader
from metarl.errors import ConfigError


def class_representations(reader: str, support: Support) -> Tensor:
    """Return the means of the items not engaged with and engaged with, shape (2, features): eqs. 3 and 4, G the mean.

    A kind of which there is no item is represented by zeros, of which the paper says nothing.

    Args:
        reader: its name, for errors.
        support: one user's history.

    Raises:
        ConfigError: there are not two classes.
    """
    kinds = support.columns.shape[1]
    if kinds != 2:
        raise ConfigError(
            f"{reader} tells two classes apart, not engaged with and engaged with, and this support set has {kinds}: use "
            "metarl/Recommendation-v0, or ways=2"
        )
    return support.columns.t() @ support.inputs / support.columns.sum(0).clamp(min=1)[:, None]


def as_logits(scores: Tensor) -> Tensor:
    """Return logits of two classes, shape (queries, 2), whose softmax is the sigmoid of scores, shape (queries,)."""
    return torch.stack([torch.zeros_like(scores), scores], dim=1)


class LinearWeightAdaptation(SupportReader):
    r"""LWA: the probability is $\sigma(b + F(t) \cdot (w_0 R^0 + w_1 R^1))$, eq. 5.

    $F(t)$ is an item's embedding, $R^0$ and $R^1$ the means of the embeddings of the history's items of either kind. The
    scalars $w_0$ and $w_1$ and the bias are meta-learned. The paper does not say where they begin: here at -1, 1 and 0.
    """

    serves: ClassVar = "classes"
    follows_ways: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor([-1.0, 1.0]))
        self.bias = nn.Parameter(torch.zeros(1))

    def read(self, support: Support) -> Tensor:
        """Return the user's classifier, shape (features,)."""
        return self.weights @ class_representations(type(self).__name__, support)

    def answer(self, queries: Tensor, kept: Tensor) -> Tensor:
        """Return logits, shape (queries, 2)."""
        return as_logits(self.bias + queries @ kept)
