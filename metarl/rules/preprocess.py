r"""The logarithm and sign of a number, so that a network sees gradients of every size.

Andrychowicz et al. 2016, "Learning to Learn by Gradient Descent by Gradient Descent", appendix A; used by the LSTM
meta-learner (Ravi and Larochelle 2017, section 3.2).
"""

import math

import torch
from torch import Tensor

P = 10.0
"""Numbers below exp(-p) are treated as small."""


def log_sign(values: Tensor) -> Tensor:
    r"""Return $(\log|x| / p, \mathrm{sgn}\,x)$ where $|x| \ge e^{-p}$ and $(-1, e^p x)$ elsewhere, with p = 10.

    Continuous, and twice differentiable without a nan at zero, because the logarithm never sees a number below exp(-p).

    Args:
        values: any shape.

    Returns:
        The two features, shape (..., 2).
    """
    size = values.abs()
    large = size >= math.exp(-P)
    magnitude = torch.where(large, size.clamp(min=math.exp(-P)).log() / P, -torch.ones_like(size))
    return torch.stack([magnitude, torch.where(large, values.sign(), math.exp(P) * values)], dim=-1)
