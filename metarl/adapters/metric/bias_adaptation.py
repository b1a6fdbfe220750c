"""A network whose biases a user's history sets: Vartak et al. 2017, section 3.2.

"A Meta-Learning Perspective on Cold-Start Recommendations for Items".
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.adapters.metric.weight_adaptation import as_logits, class_representations
from metarl.adapters.reading import Support, SupportReader
from metarl.errors import require_whole


class BiasedLayer(nn.Module):
    r"""A linear layer with the weights $W$ of all users and a user's own bias $V^0 R^0 + V^1 R^1$.

    All begin as ``nn.Linear``'s weights do.

    Args:
        inputs: of the layer.
        outputs: of the layer.
        features: the entries of $R^0$ and $R^1$.
    """

    def __init__(self, inputs: int, outputs: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(inputs, outputs, bias=False).weight.detach())
        self.to_bias = nn.Parameter(torch.stack([nn.Linear(features, outputs, bias=False).weight.detach() for _ in range(2)]))

    def forward(self, inputs: Tensor, bias: Tensor) -> Tensor:
        """Return the layer's outputs, shape (items, outputs), under a user's bias."""
        return functional.linear(inputs, self.weight, bias)

    def bias(self, representations: Tensor) -> Tensor:
        """Return a user's bias, shape (outputs,), from the representations of both kinds, shape (2, features)."""
        return torch.einsum("kof,kf->o", self.to_bias, representations)


class NonlinearBiasAdaptation(SupportReader):
    r"""NLBA: a network on an item's embedding $F(t)$, whose biases, and no weights, are the user's: eq. 6.

    The bias of hidden layer $l$ is $V^0_l R^0 + V^1_l R^1$, that of the output $v^0 \cdot R^0 + v^1 \cdot R^1$; $R^0$ and $R^1$
    are the means of the embeddings of the history's items of either kind. Hidden layers have ReLUs.

    Args:
        features: the entries of an embedding.
        hidden: the units of each hidden layer.

    Raises:
        ConfigError: a width that is not a whole number above zero.
    """

    serves: ClassVar = "classes"
    follows_ways: ClassVar[bool] = False

    def __init__(self, features: int, hidden: Sequence[int] = (64, 64)) -> None:
        super().__init__()
        require_whole(**{f"hidden[{i}]": width for i, width in enumerate(hidden)})
        self.layers = nn.ModuleList(BiasedLayer(*sizes, features) for sizes in pairwise([features, *hidden, 1]))

    def read(self, support: Support) -> list[Tensor]:
        """Return the user's bias of each layer, shape (units,)."""
        representations = class_representations(type(self).__name__, support)
        return [cast(BiasedLayer, layer).bias(representations) for layer in self.layers]

    def answer(self, queries: Tensor, kept: list[Tensor]) -> Tensor:
        """Return logits, shape (queries, 2)."""
        values = queries
        for number, (layer, bias) in enumerate(zip(self.layers, kept, strict=True), start=1):
            values = layer(values, bias)
            if number < len(kept):
                values = values.relu()
        return as_logits(values[:, 0])
