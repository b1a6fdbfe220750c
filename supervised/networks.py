"""The networks of the papers' predictors."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.errors import ConfigError, require_positive
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


class BatchNorm(nn.Module):
    """Batch normalisation by the current batch's statistics, with a learned scale and shift (transductive).

    ``F.batch_norm`` differentiates twice wrongly through its own weight under ``torch.func.vmap``, so the scale is outside.

    Args:
        channels: how many.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, images: Tensor) -> Tensor:
        """Return images of shape (examples, channels, height, width), normalised."""
        normal = functional.batch_norm(images, None, None, None, None, training=True)
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


def conv4(input_shape: Sequence[int], outputs: int, filters: int = 64, padding: int = 1) -> nn.Module:
    """Return the few-shot papers' Conv4: four blocks of 3x3 convolution, batch-norm, ReLU and 2x2 max-pooling; a linear head.

    Args:
        input_shape: (channels, height, width) of an image.
        outputs: classes.
        filters: of each convolution; MAML and Meta-SGD take 32 on miniImageNet, TURTLE 64.
        padding: 1 as in the papers; 0 as in TURTLE's code, which leaves 576 features of an 84x84 image instead of 1600.

    Raises:
        ConfigError: an image too small for four blocks.
    """
    channels, *size = input_shape
    require_positive(filters=filters, outputs=outputs)
    blocks: list[nn.Module] = []
    for block in range(4):
        blocks += [
            nn.Conv2d(channels if block == 0 else filters, filters, 3, padding=padding),
            BatchNorm(filters),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        size = [(length + 2 * padding - 2) // 2 for length in size]
    if min(size) < 1:
        raise ConfigError(f"input_shape={tuple(input_shape)} is too small for Conv4 with padding={padding}")
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(filters * math.prod(size), outputs))
