"""The networks of the papers' predictors."""

import math
from collections.abc import Sequence

from torch import nn

from metarl.networks import Init, mlp


def regressor(
    input_shape: Sequence[int],
    outputs: int,
    hidden: Sequence[int] = (40, 40),
    activation: str = "relu",
    init: Init = "truncated-normal",
) -> nn.Module:
    """Return the sine papers' regressor: 1-40-40-1 with ReLU; see ``metarl.networks.mlp`` for the other arguments."""
    return mlp(math.prod(input_shape), outputs, hidden, activation, init)
