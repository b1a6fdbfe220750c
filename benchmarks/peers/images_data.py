"""The image tasks' numbers, and what all sides compute on."""

import torch
from torch import Tensor

TASKS, WAYS, QUERIES, SIDE, FILTERS = 32, 5, 15, 28, 64
INNER_RATE = 0.4


def episodes() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return support images and labels, and query images and labels, the task axis first."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(WAYS).expand(TASKS, -1)
    support = torch.rand(TASKS, WAYS, 1, SIDE, SIDE, generator=generator)
    query = torch.rand(TASKS, WAYS * QUERIES, 1, SIDE, SIDE, generator=generator)
    return support, labels, query, labels.repeat_interleave(QUERIES, 1)


def parameter(index: int, shape: torch.Size) -> Tensor:
    """Return the values of a parameter: of a layer's weight, or ones and zeros, nearly, for scales and biases."""
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(index))
    if len(shape) > 1:
        return noise / shape[1:].numel() ** 0.5
    is_scale = index % 4 == 2  # convolution's weight and bias, the norm's scale and shift
    return 0.1 * noise + float(is_scale)
