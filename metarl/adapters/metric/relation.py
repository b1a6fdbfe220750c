r"""Relation Networks: how near two sets of feature maps are is learned too.

Sung, Yang, Zhang, Xiang, Torr and Hospedales 2018, "Learning to Compare: Relation Network for Few-Shot Learning".
"""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.adapters.metric.base import MetricReader
from metarl.adapters.reading import Support
from metarl.errors import ConfigError, require_whole
from metarl.problems.supervised import Loss

GROUP = 8
"""Channels in a group of the normalisation, at most."""


class Relation(MetricReader):
    r"""Scores a query's feature maps beside a class's: $r = g(\mathcal{C}(f(x_i), f(x_j)))$, eq. 1, and eq. 2 as the loss.

    A class's maps are the sum of its support examples'. The relation module $g$ is two blocks of 3x3 convolution,
    normalisation, ReLU and 2x2 max-pooling, and two linear layers. Training brings the scores near to 1 for the query's own
    class and near to 0 for the others by their mean squared error.

    Deviations: the authors' code normalises the relation module over the batch of all pairs, by which queries see each other;
    here every pair is normalised by itself, over groups of eight channels. The first convolution, of the concatenated
    maps, is computed as the sum of one of the class's and one of the query's, which is the same, once for each instead of
    once for each pair.

    Args:
        shape: (channels, height, width) of the feature maps; both lengths at least 4.
        filters: of the relation module's convolutions; the authors' code: 64.
        hidden: units before the score; 8.

    Raises:
        ConfigError: embeddings that are not feature maps or too small ones, or a width that is not a whole number above
            zero.
    """

    landmark: ClassVar[str] = "mean of a class"

    def __init__(self, shape: Sequence[int], filters: int = 64, hidden: int = 8) -> None:
        super().__init__()
        require_whole(filters=filters, hidden=hidden)
        if len(shape) != 3 or min(shape[1:]) < 4:
            raise ConfigError(
                f"embeddings of shape {tuple(shape)} are no feature maps of at least 4x4 (channels, height, width), which the "
                "relation module halves twice: pool less, such as with policy_kwargs={'pools': 2}, and leave no flat layer"
            )
        channels, *size = self.shape = tuple(shape)
        self.of_class = nn.Conv2d(channels, filters, 3, padding=1)
        self.of_query = nn.Conv2d(channels, filters, 3, padding=1, bias=False)
        self.second = nn.Conv2d(filters, filters, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(2, filters))
        self.shifts = nn.Parameter(torch.zeros(2, filters))
        self.hidden = nn.Linear(filters * math.prod(length // 4 for length in size), hidden)
        self.score = nn.Linear(hidden, 1)
        self.groups = math.gcd(filters, max(1, filters // GROUP))

    def read(self, support: Support) -> tuple[Tensor, Tensor]:
        """Return the sums of the classes' maps, shape (ways, features), and how many examples each is of, shape (ways,)."""
        return support.columns.t() @ support.inputs, support.columns.sum(0)

    def landmarks(self, kept: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the classes' means, which lie among their examples as sums do not."""
        sums, shots = kept
        return sums / shots[:, None], torch.arange(len(sums), device=sums.device)

    def answer(self, queries: Tensor, kept: tuple[Tensor, Tensor]) -> Tensor:
        """Return the logits of the relation scores, shape (queries, ways); their sigmoids are the scores."""
        classes, asked = self.of_class(self._maps(kept[0])), self.of_query(self._maps(queries))
        pairs = (asked[:, None] + classes[None]).flatten(0, 1)  # (queries * ways, filters, height, width)
        pairs = self._block(self.second(self._block(pairs, 0)), 1)
        scores: Tensor = self.score(self.hidden(pairs.flatten(1)).relu())
        return scores.view(len(queries), -1)

    def loss(self, queries: Tensor, kept: tuple[Tensor, Tensor], targets: Tensor, criterion: Loss) -> Tensor:
        """Return the mean squared error of the scores against 1 for a query's own class and 0 for others, shape ()."""
        scores = self.answer(queries, kept).sigmoid()
        return functional.mse_loss(scores, functional.one_hot(targets.long(), scores.shape[1]).to(scores))

    def _maps(self, flat: Tensor) -> Tensor:
        return flat.view(-1, *self.shape)

    def _block(self, maps: Tensor, block: int) -> Tensor:
        """Return maps normalised, through a ReLU, and halved."""
        normal = functional.group_norm(maps, self.groups)
        shaped = normal * self.scales[block][:, None, None] + self.shifts[block][:, None, None]
        return functional.max_pool2d(shaped.relu(), 2)
