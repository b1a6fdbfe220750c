"""Neural processes: the support examples' encodings are averaged, or attended to, and decoded into a distribution.

Garnelo et al. 2018, "Conditional Neural Processes"; with attention, Kim et al. 2019, "Attentive Neural Processes".
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.adapters.reading import Support, SupportReader, Targets
from metarl.errors import require_whole, unknown_name
from metarl.networks import mlp
from metarl.problems.supervised import Loss

Aggregation = Literal["none", "dot"]
"""How the encodings become one for a query: their mean, the same for all; or by scaled dot products of keys of the inputs."""
LEAST_DEVIATION = 0.1
"""What no predicted deviation falls below, as in the authors' code."""
Kept = tuple[Tensor, Tensor]
"""The keys, shape (examples, features), of no account without attention; the encodings, shape (examples, representation)."""


class NeuralProcess(SupportReader):
    r"""Encodes each support example, $r_i = h(x_i, y_i)$, and decodes $N(y^* ; g(x^*, r))$ for a query from what r they make.

    The order of the support examples is of no account, and there may be any number of them. An answer is the mean; training
    maximises the likelihood of the query targets (Garnelo et al., eqs. 2 to 4). Inputs are embeddings here, in the papers
    they are as they come. Of Kim et al. it is the deterministic path, without a latent variable.

    Args:
        features: the entries of an embedding.
        outputs: the numbers of a target.
        hidden: the widths of the hidden layers of the encoder, and of the decoder in the opposite order.
        representation: the entries of an encoding.
        attention: ``"none"``, the mean of the encodings; ``"dot"``, scaled dot-product attention to them.

    Raises:
        ConfigError: a width that is not a whole number above zero, or an unknown attention.
    """

    serves: ClassVar[Targets] = "values"
    follows_ways: ClassVar[bool] = False

    def __init__(
        self,
        features: int,
        outputs: int,
        hidden: Sequence[int] = (128, 128),
        representation: int = 128,
        attention: Aggregation = "none",
    ) -> None:
        super().__init__()
        if attention not in get_args(Aggregation):
            raise unknown_name("attention", attention, get_args(Aggregation))
        require_whole(representation=representation)
        self.encoder = mlp(features + outputs, representation, hidden, init="torch")
        self.decoder = mlp(features + representation, 2 * outputs, hidden[::-1], init="torch")
        self.weighs = attention == "dot"
        if self.weighs:
            self.keys = nn.Linear(features, representation, bias=False)

    def read(self, support: Support) -> Kept:
        """Return keys of the support inputs and encodings of the examples."""
        encoded = self.encoder(torch.cat([support.inputs, support.columns], dim=1))
        return self.keys(support.inputs) if self.weighs else support.inputs, encoded

    def answer(self, queries: Tensor, kept: Kept) -> Tensor:
        """Return the means, shape (queries, outputs)."""
        return self.distribution(queries, kept)[0]

    def distribution(self, queries: Tensor, kept: Kept) -> tuple[Tensor, Tensor]:
        r"""Return the means and the deviations, $0.1 + 0.9 \mathrm{softplus}$, each of shape (queries, outputs)."""
        representation = self.attention(queries, kept) @ kept[1]
        means, raw = self.decoder(torch.cat([queries, representation], dim=1)).chunk(2, dim=1)
        return means, LEAST_DEVIATION + (1 - LEAST_DEVIATION) * functional.softplus(raw)

    def attention(self, queries: Tensor, kept: Kept) -> Tensor:
        """Return the weight of each support example for each query, shape (queries, examples); without attention all alike."""
        keys = kept[0]
        if not self.weighs:
            return queries.new_full((len(queries), len(keys)), 1 / len(keys))
        weights: Tensor = (self.keys(queries) @ keys.t() / math.sqrt(keys.shape[1])).softmax(1)
        return weights

    def loss(self, queries: Tensor, kept: Kept, targets: Tensor, criterion: Loss) -> Tensor:
        """Return minus the mean log-likelihood of the targets, shape (queries, outputs), whatever the problem's criterion."""
        means, deviations = self.distribution(queries, kept)
        standard = (targets.reshape(means.shape) - means) / deviations
        return (standard.square() / 2 + deviations.log() + math.log(2 * math.pi) / 2).mean()
