"""Multilayer perceptrons with the papers' initialisations, a classifier by cosines, and the bias transformation."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from metarl.errors import ConfigError, require_positive, require_whole, unknown_name

Init = Literal["glorot", "truncated-normal", "torch"]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU}


def _truncated_normal(weight: Tensor) -> Tensor:
    return nn.init.trunc_normal_(weight, std=0.01, a=-0.02, b=0.02)


INITS = {"glorot": nn.init.xavier_uniform_, "truncated-normal": _truncated_normal, "torch": None}


def mlp(
    inputs: int,
    outputs: int,
    hidden: Sequence[int],
    activation: str = "relu",
    init: Init = "glorot",
    output_gain: float = 1.0,
    bias_transformation: int = 0,
) -> nn.Sequential:
    """Return a multilayer perceptron with zero biases and a linear output layer.

    Args:
        inputs: the size of an input.
        outputs: the size of an output.
        hidden: the width of each hidden layer.
        activation: ``"relu"``, ``"tanh"`` or ``"elu"``.
        init: the weights: ``"glorot"`` uniform as in Finn's policies; ``"truncated-normal"`` with deviation 0.01, cut at two
            deviations, as in MAML's and Meta-SGD's regressors; ``"torch"``, the default of nn.Linear, as in TURTLE's code.
        output_gain: what the output layer's initial weights are multiplied with.
        bias_transformation: the size of a learned vector beside the input, which the first layer sees; 0 for none.

    Raises:
        ConfigError: a width that is not positive, or an unknown activation or initialisation.
    """
    if activation not in ACTIVATIONS:
        raise unknown_name("activation", activation, ACTIVATIONS)
    if init not in INITS:
        raise unknown_name("init", init, INITS)
    require_whole(inputs=inputs, outputs=outputs, **{f"hidden[{i}]": width for i, width in enumerate(hidden)})
    layers: list[nn.Module] = with_bias_transformation(bias_transformation)
    sizes = [inputs + bias_transformation, *hidden, outputs]
    for fan_in, fan_out in pairwise(sizes):
        linear = nn.Linear(fan_in, fan_out)
        initialise = INITS[init]
        if initialise is not None:
            initialise(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, ACTIVATIONS[activation]()]
    with torch.no_grad():
        linear.weight *= output_gain
    return nn.Sequential(*layers[:-1])


class BiasTransformation(nn.Module):
    r"""Puts a learned vector z beside the input of the layer that follows, so that its bias steps further than its weights.

    A linear layer of weights $(W_1, W_2)$ and bias b then gives $W_1 x + W_2 z + b$: the same functions, with the bias
    $c = W_2 z + b$. But an inner step of rate $\alpha$ along the gradient $\delta$ by c moves it by
    $-\alpha\,(1 + |z|^2 + W_2 W_2^\top)\,\delta + \alpha^2\,(\delta^\top W_2 z)\,\delta$ instead of $-\alpha\,\delta$,
    in which z and $W_2$ are meta-learned, whatever the rate of $W_1$.

    Finn, Yu, Zhang, Abbeel and Levine 2017, "One-Shot Visual Imitation Learning via Meta-Learning"; z starts at nought, as
    in the authors' code.

    Args:
        size: the entries of z.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        require_whole(bias_transformation=size)
        self.vector = nn.Parameter(torch.zeros(size))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs of shape (..., features) with the vector after each, shape (..., features + size)."""
        return torch.cat([inputs, self.vector.expand(*inputs.shape[:-1], -1)], dim=-1)


def with_bias_transformation(size: int) -> list[nn.Module]:
    """Return the bias transformation that an option asks for, or nothing.

    Raises:
        ConfigError: the size is no whole number, or negative.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ConfigError(f"bias_transformation={size!r} must be a whole number, 0 for none")
    return [BiasTransformation(size)] if size else []


class CosineHead(nn.Module):
    """A classifier by the cosine between features and one learned direction a class, as in Baseline++.

    Chen et al. 2019, "A Closer Look at Few-shot Classification", section 3.3.

    Args:
        features: of an input.
        outputs: classes.
        scale: what the cosines are multiplied with, in (0, inf); Chen et al. take 2 up to 200 classes, 10 above.
    """

    def __init__(self, features: int, outputs: int, scale: float = 2.0) -> None:
        super().__init__()
        require_positive(scale=scale)
        self.weight = nn.Parameter(nn.Linear(features, outputs).weight.detach())
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """Return the scaled cosines, shape (examples, outputs), of features of shape (examples, features)."""
        normal = features / (features.norm(dim=1, keepdim=True) + 1e-5)
        directions = self.weight / (self.weight.norm(dim=1, keepdim=True) + 1e-5)
        cosines: Tensor = normal @ directions.t()
        return self.scale * cosines
