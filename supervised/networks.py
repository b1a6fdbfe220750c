"""The networks of the papers' predictors."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from metarl.errors import ConfigError, require_positive, unknown_name
from metarl.networks import ACTIVATIONS, CosineHead, Init, mlp
from metarl.normalisation import BatchNorm

Head = Literal["linear", "cosine", "none"]
"""The last layer: a linear classifier, one by cosines, or none, which leaves a network that ends in its features."""
Downsampling = Literal["pool", "stride"]


def regressor(
    input_shape: Sequence[int],
    outputs: int,
    hidden: Sequence[int] = (40, 40),
    activation: str = "relu",
    init: Init = "truncated-normal",
    head: Literal["linear", "none"] = "linear",
) -> nn.Module:
    """Return the sine papers' regressor: 1-40-40-1 with ReLU; see ``metarl.networks.mlp`` for the other arguments.

    With ``head="none"`` it ends in its last hidden layer.
    """
    if head not in ("linear", "none"):
        raise unknown_name("head", head, ["linear", "none"])
    if head == "none":
        return nn.Sequential(*mlp(math.prod(input_shape), hidden[-1], hidden[:-1], activation, init), ACTIVATIONS[activation]())
    return mlp(math.prod(input_shape), outputs, hidden, activation, init)


def linear(input_shape: Sequence[int], outputs: int) -> nn.Module:
    """Return a linear map without bias, whose weights begin as nn.Linear's do."""
    return nn.Linear(math.prod(input_shape), outputs, bias=False)


def conv4(
    input_shape: Sequence[int],
    outputs: int,
    filters: int = 64,
    padding: int = 1,
    downsampling: Downsampling = "pool",
    hidden: int | None = None,
    head: Head = "linear",
    scale: float = 2.0,
) -> nn.Module:
    """Return the few-shot papers' Conv4: four blocks of 3x3 convolution, batch-norm, ReLU and halving; a head.

    Args:
        input_shape: (channels, height, width) of an image.
        outputs: classes; without a head they are of no account.
        filters: of each convolution; MAML and Meta-SGD take 32 on miniImageNet, 64 on Omniglot; TURTLE 64.
        padding: 1 as in the papers; 0 as in TURTLE's code, which leaves 576 features of an 84x84 image instead of 1600.
        downsampling: ``"pool"``, 2x2 max-pooling; ``"stride"``, convolutions of stride 2 and the mean over what is left, as
            MAML's and Alpha MAML's on Omniglot.
        hidden: units of a linear layer before the head; Meta-SGD on Omniglot: 32.
        head: ``"linear"`` or ``"cosine"``; ``"none"`` for the features themselves, shape (images, features), as Prototypical
            Networks take them. The other layers' initial weights are the same whatever the head.
        scale: of a cosine head.

    Raises:
        ConfigError: an image too small for four blocks, or an unknown name.
    """
    channels, *size = input_shape
    require_positive(filters=filters)
    if downsampling not in get_args(Downsampling):
        raise unknown_name("downsampling", downsampling, get_args(Downsampling))
    stride = 2 if downsampling == "stride" else 1
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block in range(1, 5):
        layers[f"conv{block}"] = nn.Conv2d(channels if block == 1 else filters, filters, 3, stride, padding)
        layers[f"norm{block}"] = BatchNorm(filters)
        layers[f"relu{block}"] = nn.ReLU()
        if downsampling == "pool":
            layers[f"pool{block}"] = nn.MaxPool2d(2)
        size = [((length + 2 * padding - 3) // stride + 1) // (3 - stride) for length in size]
    if min(size) < 1:
        raise ConfigError(f"input_shape={tuple(input_shape)} is too small for Conv4 with padding={padding}")
    if downsampling == "stride":
        layers["mean"] = nn.AdaptiveAvgPool2d(1)
        size = [1, 1]
    return _with_head(layers, filters * math.prod(size), outputs, hidden, head, scale)


def perceptron(
    input_shape: Sequence[int],
    outputs: int,
    hidden: Sequence[int] = (256, 128, 64, 64),
    head: Head = "linear",
    scale: float = 2.0,
) -> nn.Module:
    """Return MAML's network without convolutions: layers with batch-norm and ReLU, 256-128-64-64; a head as ``conv4``'s."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    features = math.prod(input_shape)
    require_positive(**{f"hidden[{i}]": width for i, width in enumerate(hidden)})
    for layer, width in enumerate(hidden, start=1):
        layers |= {f"linear{layer}": nn.Linear(features, width), f"norm{layer}": BatchNorm(width), f"relu{layer}": nn.ReLU()}
        features = width
    return _with_head(layers, features, outputs, None, head, scale)


class ResidualBlock(nn.Module):
    """Three 3x3 convolutions with batch-norm beside a 1x1 one, and 2x2 max-pooling of their sum."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        widths = [inputs, filters, filters]
        self.convolutions = nn.ModuleList(nn.Conv2d(width, filters, 3, padding=1, bias=False) for width in widths)
        self.norms = nn.ModuleList(BatchNorm(filters) for _ in widths)
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, filters, 1, bias=False), BatchNorm(filters))

    def forward(self, images: Tensor) -> Tensor:
        """Return features of shape (examples, filters, height / 2, width / 2)."""
        features, last = images, len(self.norms) - 1
        for layer, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            features = norm(convolution(features))
            if layer < last:
                features = functional.leaky_relu(features, 0.1)
        return functional.max_pool2d(functional.leaky_relu(features + self.shortcut(images), 0.1), 2)


def resnet12(
    input_shape: Sequence[int],
    outputs: int,
    filters: Sequence[int] = (64, 160, 320, 640),
    head: Head = "linear",
    scale: float = 2.0,
) -> nn.Module:
    """Return the few-shot papers' ResNet-12: four residual blocks of three convolutions, their mean; a head as ``conv4``'s.

    Lee et al. 2019, "Meta-Learning with Differentiable Convex Optimization", section 4.1, without DropBlock.

    Raises:
        ConfigError: an image too small to be halved once a block.
    """
    channels, *size = input_shape
    require_positive(**{f"filters[{i}]": width for i, width in enumerate(filters)})
    if min(size) < 2 ** len(filters):
        raise ConfigError(f"input_shape={tuple(input_shape)} is too small for {len(filters)} residual blocks")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block, width in enumerate(filters, start=1):
        layers[f"block{block}"] = ResidualBlock(channels, width)
        channels = width
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    return _with_head(layers, channels, outputs, None, head, scale)


def _with_head(
    layers: OrderedDict[str, nn.Module], features: int, outputs: int, hidden: int | None, head: Head, scale: float
) -> nn.Module:
    if head not in get_args(Head):
        raise unknown_name("head", head, get_args(Head))
    layers.setdefault("flatten", nn.Flatten())
    if hidden is not None:
        require_positive(hidden=hidden)
        layers["hidden"] = nn.Linear(features, hidden)
        features = hidden
    if head != "none":  # made last, so that it takes no random numbers from the other layers
        require_positive(outputs=outputs)
        layers["head"] = CosineHead(features, outputs, scale) if head == "cosine" else nn.Linear(features, outputs)
    return nn.Sequential(layers)
