r"""Prototypes that unlabelled examples refine: soft k-means, a cluster for distractors, and masks.

Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle and Zemel 2018, "Meta-Learning for Semi-Supervised Few-Shot
Classification", section 3.1.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from metarl.adapters.metric.prototypes import Prototypes
from metarl.adapters.reading import Support
from metarl.errors import require_whole

HIDDEN = 20
"""Hidden units of the network that predicts masks, as in the authors' code."""
RADIUS = 100.0
"""Where the distractors' radius starts, as in the authors' code."""
WEIGHTS = 0.01
"""The deviation of the mask network's initial weights, as there: thresholds and slopes start near one."""


class SoftKMeans(Prototypes):
    r"""Moves prototypes towards the unlabelled examples that are near them: section 3.1.1.

    A refinement makes of prototypes $p_c$, support examples $h(x_i)$ and unlabelled examples $h(\tilde x_j)$ the weighted means
    $$\tilde p_c = \frac{\sum_i h(x_i) z_{i,c} + \sum_j h(\tilde x_j) \tilde z_{j,c}}{\sum_i z_{i,c} + \sum_j \tilde z_{j,c}},
    \qquad \tilde z_{j,c} = \frac{\exp(-\|h(\tilde x_j) - p_c\|^2)}{\sum_{c'} \exp(-\|h(\tilde x_j) - p_{c'}\|^2)},$$
    where $z_{i,c}$ is 1 if example i is of class c, else 0. Queries are compared with the last prototypes. Without unlabelled
    examples these are those of Prototypical Networks.

    Args:
        refinements: how many; the paper found one to do. With none there are still the unlabelled examples in the statistics
            that batch-normalisation takes of a batch: what refinements gain is over that.

    Raises:
        ConfigError: ``refinements`` is not a whole number, or negative.

    Example:
        >>> support = Support(torch.tensor([[0.0], [4.0]]), torch.eye(2), torch.arange(2), (torch.tensor([[6.0]]),))
        >>> SoftKMeans().read(support).round(decimals=4).tolist()  # 6 is as good as certainly of the second class
        [[0.0], [5.0]]
    """

    reads_unlabelled: ClassVar[bool] = True

    def __init__(self, refinements: int = 1) -> None:
        super().__init__("squared-euclidean")
        if refinements != 0:
            require_whole(refinements=refinements)
        self.refinements = refinements

    def read(self, support: Support) -> Tensor:
        """Return the refined prototypes, shape (ways, features)."""
        return self.path(support)[-1]

    def path(self, support: Support) -> list[Tensor]:
        """Return the prototypes before the first and after each refinement, shape (ways, features) each."""
        prototypes = [super().read(support)]
        for unlabelled in support.unlabelled:
            for _ in range(self.refinements if len(unlabelled) else 0):
                shares = self.shares(prototypes[-1], unlabelled)
                sums = support.columns.t() @ support.inputs + shares.t() @ unlabelled
                prototypes.append(sums / (support.columns.sum(0) + shares.sum(0))[:, None])
        return prototypes

    def shares(self, prototypes: Tensor, unlabelled: Tensor) -> Tensor:
        """Return how much each unlabelled example counts in each class's mean, shape (unlabelled examples, ways)."""
        return self.similarity(unlabelled, prototypes).softmax(1)


class DistractorCluster(SoftKMeans):
    r"""Has one cluster more, for all examples of other classes: section 3.1.2, eq. 6.

    It lies at the origin and its radius r is learned, while the classes' radii are 1: its logit is
    $-\|h(\tilde x_j)\|^2 / r^2 - \log r$. What it takes counts for no class. As r grows this becomes ``SoftKMeans``.

    As in the paper, and unlike the authors' code, squared distances are not halved and queries are compared with the classes
    alone; and further refinements leave the cluster at the origin.
    """

    def __init__(self, refinements: int = 1) -> None:
        super().__init__(refinements)
        self.log_radius = nn.Parameter(torch.tensor(math.log(RADIUS)))

    def shares(self, prototypes: Tensor, unlabelled: Tensor) -> Tensor:
        """Return the classes' shares; what is missing to one is the distractors'."""
        distractor = -unlabelled.square().sum(1) * (-2 * self.log_radius).exp() - self.log_radius
        logits = torch.cat([self.similarity(unlabelled, prototypes), distractor[:, None]], dim=1)
        return logits.softmax(1)[:, :-1]


class MaskedSoftKMeans(SoftKMeans):
    r"""Lets count what is near enough only, by a learned threshold: section 3.1.3, eqs. 7 to 9.

    Squared distances $\tilde d_{j,c}$ are divided by their mean over j. A network of 20 hidden tanh units sees the minimum, the
    maximum, variance, skewness and kurtosis of a prototype's, through which no gradient passes, and gives the logarithms (as in
    the authors' code) of its threshold $\beta_c$ and slope $\gamma_c$. Shares are those of ``SoftKMeans`` times the masks
    $m_{j,c} = \sigma(-\gamma_c (\tilde d_{j,c} - \beta_c))$.

    The authors' code multiplies by the masks twice, and keeps the first refinement's statistics for the further ones with a
    threshold that moves; here every refinement is that of the paper, with statistics of its own.
    """

    def __init__(self, refinements: int = 1) -> None:
        super().__init__(refinements)
        self.network = nn.Sequential(nn.Linear(5, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 2))
        for name, value in self.network.named_parameters():
            nn.init.normal_(value, std=0.0 if name.endswith("bias") else WEIGHTS)

    def shares(self, prototypes: Tensor, unlabelled: Tensor) -> Tensor:
        """Return the masked shares."""
        return super().shares(prototypes, unlabelled) * self.masks(prototypes, unlabelled)

    def masks(self, prototypes: Tensor, unlabelled: Tensor) -> Tensor:
        """Return the masks, in (0, 1), shape (unlabelled examples, ways)."""
        distances = -self.similarity(unlabelled, prototypes)
        distances = distances / _one_for_zero(distances.mean(0))
        threshold, slope = self.network(statistics(distances).detach()).exp().unbind(1)
        masks: Tensor = (slope * (threshold - distances)).sigmoid()
        return masks


def statistics(distances: Tensor) -> Tensor:
    """Return minimum, maximum, variance, skewness and excess kurtosis of each column, shape (columns, 5)."""
    variance, mean = torch.var_mean(distances, 0, correction=0)
    scaled = (distances - mean) / _one_for_zero(variance).sqrt()
    moments = [scaled.pow(3).mean(0), scaled.pow(4).mean(0) - 3]
    return torch.stack([distances.amin(0), distances.amax(0), variance, *moments], dim=1)


def _one_for_zero(values: Tensor) -> Tensor:
    return torch.where(values == 0, 1, values)
