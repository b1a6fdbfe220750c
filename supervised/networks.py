"""The networks of the papers' predictors."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from metarl.errors import ConfigError, require_between, require_whole, unknown_name
from metarl.networks import ACTIVATIONS, CosineHead, Init, mlp, with_bias_transformation
from metarl.normalisation import BatchNorm

Head = Literal["linear", "cosine", "none", "maps"]
"""The last layer: a linear classifier, one by cosines, or none, which leaves a network that ends in its features, flat; or in
feature maps, which keep their height and width."""
Downsampling = Literal["pool", "stride"]
KOCH_KERNELS = (10, 7, 4, 4)


def regressor(
    input_shape: Sequence[int],
    outputs: int,
    hidden: Sequence[int] = (40, 40),
    activation: str = "relu",
    init: Init = "truncated-normal",
    head: Literal["linear", "none"] = "linear",
    bias_transformation: int = 0,
) -> nn.Module:
    """Return the sine papers' regressor: 1-40-40-1 with ReLU; see ``metarl.networks.mlp`` for the other arguments.

    With ``head="none"`` it ends in its last hidden layer.
    """
    if head not in ("linear", "none"):
        raise unknown_name("head", head, ["linear", "none"])
    inputs = math.prod(input_shape)
    if head == "none":
        if not hidden:
            raise ConfigError(f"hidden={hidden!r} leaves no layer to end in: give at least one width")
        body = mlp(inputs, hidden[-1], hidden[:-1], activation, init, bias_transformation=bias_transformation)
        return nn.Sequential(*body, ACTIVATIONS[activation]())
    return mlp(inputs, outputs, hidden, activation, init, bias_transformation=bias_transformation)


def linear(input_shape: Sequence[int], outputs: int) -> nn.Module:
    """Return a linear map without bias, whose weights begin as nn.Linear's do."""
    return nn.Linear(math.prod(input_shape), outputs, bias=False)


def conv4(
    input_shape: Sequence[int],
    outputs: int,
    filters: int = 64,
    padding: int = 1,
    downsampling: Downsampling = "pool",
    pools: int = 4,
    hidden: int | None = None,
    head: Head = "linear",
    scale: float = 2.0,
    bias_transformation: int = 0,
) -> nn.Module:
    """Return the few-shot papers' Conv4: four blocks of 3x3 convolution, batch-norm, ReLU and halving; a head.

    Args:
        input_shape: (channels, height, width) of an image.
        outputs: classes; without a head they are of no account.
        filters: of each convolution; MAML and Meta-SGD take 32 on miniImageNet, 64 on Omniglot; TURTLE 64.
        padding: 1 as in the papers; 0 as in TURTLE's code, which leaves 576 features of an 84x84 image instead of 1600.
        downsampling: ``"pool"``, 2x2 max-pooling; ``"stride"``, convolutions of stride 2 and the mean over what is left, as
            MAML's and Alpha MAML's on Omniglot.
        pools: how many of the blocks halve, from the first on; Relation Networks: 2, which keep a spatial extent.
        hidden: units of a linear layer before the head; Meta-SGD on Omniglot: 32.
        head: ``"linear"`` or ``"cosine"``; ``"none"`` for the features themselves, shape (images, features), as Prototypical
            Networks take them; ``"maps"`` for those of shape (images, filters, height, width), as Relation Networks do. The
            other layers' initial weights are the same whatever the head.
        scale: of a cosine head.
        bias_transformation: the size of a learned vector beside the features, which a linear head sees; 0 for none.

    Raises:
        ConfigError: an image too small for four blocks, an unknown name, a hidden layer on feature maps, or a bias
            transformation without a linear head.
    """
    channels, *size = input_shape
    require_whole(filters=filters)
    require_between(0, 4, pools=pools)
    if downsampling not in get_args(Downsampling):
        raise unknown_name("downsampling", downsampling, get_args(Downsampling))
    if head == "maps" and hidden is not None:
        raise ConfigError(f"hidden={hidden!r} makes features flat, and feature maps are wanted: leave it out")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block in range(1, 5):
        halves = block <= pools
        stride = 2 if halves and downsampling == "stride" else 1
        layers[f"conv{block}"] = nn.Conv2d(channels if block == 1 else filters, filters, 3, stride, padding)
        layers[f"norm{block}"] = BatchNorm(filters)
        layers[f"relu{block}"] = nn.ReLU()
        size = [(length + 2 * padding - 3) // stride + 1 for length in size]
        if halves and downsampling == "pool":
            layers[f"pool{block}"] = nn.MaxPool2d(2)
            size = [length // 2 for length in size]
    if min(size) < 1:
        raise ConfigError(f"input_shape={tuple(input_shape)} is too small for Conv4 with padding={padding}")
    if head == "maps":
        return nn.Sequential(layers)
    if downsampling == "stride":
        layers["mean"] = nn.AdaptiveAvgPool2d(1)
        size = [1, 1]
    return _with_head(layers, filters * math.prod(size), outputs, hidden, head, scale, bias_transformation)


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
    require_whole(**{f"hidden[{i}]": width for i, width in enumerate(hidden)})
    for layer, width in enumerate(hidden, start=1):
        layers |= {f"linear{layer}": nn.Linear(features, width), f"norm{layer}": BatchNorm(width), f"relu{layer}": nn.ReLU()}
        features = width
    return _with_head(layers, features, outputs, None, head, scale)


def koch(
    input_shape: Sequence[int],
    outputs: int,
    filters: Sequence[int] = (64, 128, 128, 256),
    hidden: int = 4096,
    init: Literal["koch", "torch"] = "koch",
    head: Head = "linear",
    scale: float = 2.0,
) -> nn.Module:
    """Return the twin of Koch's Siamese network: convolutions of 10x10, 7x7, 4x4 and 4x4 with ReLU, a wide linear layer.

    Koch, Zemel and Salakhutdinov 2015, "Siamese Neural Networks for One-shot Image Recognition", section 3.1: images of
    105x105, 2x2 max-pooling between the convolutions, 4,096 units. With ``head="none"`` it ends in that layer without its
    sigmoid, which a Siamese network's reader applies; a classifier sits on the sigmoid.

    Args:
        input_shape: (channels, height, width) of an image; 65x65 is the least.
        outputs: classes; without a head they are of no account.
        filters: of each convolution.
        hidden: units of the linear layer.
        init: ``"koch"``, the paper's: normal weights of deviation 0.01, in the linear layer 0.2, and biases around 0.5;
            ``"torch"``, PyTorch's own, with which the sigmoids do not start out saturated.
        head: as ``conv4``'s.
        scale: of a cosine head.

    Raises:
        ConfigError: an image too small for the convolutions, other than four of them, or an unknown name.
    """
    channels, *size = input_shape
    if len(filters) != len(KOCH_KERNELS):
        raise ConfigError(f"filters={tuple(filters)!r} must be {len(KOCH_KERNELS)} numbers, one for each convolution")
    require_whole(hidden=hidden, **{f"filters[{i}]": width for i, width in enumerate(filters)})
    if init not in ("koch", "torch"):
        raise unknown_name("init", init, ["koch", "torch"])
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block, (kernel, width) in enumerate(zip(KOCH_KERNELS, filters, strict=True), start=1):
        if block > 1:
            layers[f"pool{block - 1}"] = nn.MaxPool2d(2)
            size = [length // 2 for length in size]
        layers[f"conv{block}"] = nn.Conv2d(channels, width, kernel)
        layers[f"relu{block}"] = nn.ReLU()
        channels, size = width, [length - kernel + 1 for length in size]
        if min(size) < 1:
            raise ConfigError(f"input_shape={tuple(input_shape)} is too small for Koch's network: give images of 65x65 or more")
    if head == "maps":
        return nn.Sequential(layers)
    layers["flatten"] = nn.Flatten()
    layers["hidden"] = nn.Linear(channels * math.prod(size), hidden)
    if init == "koch":
        for layer in layers.values():
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                nn.init.normal_(layer.weight, std=0.01 if isinstance(layer, nn.Conv2d) else 0.2)
                nn.init.normal_(layer.bias, 0.5, 0.01)  # type: ignore[arg-type]
    if head != "none":
        layers["sigmoid"] = nn.Sigmoid()
    return _with_head(layers, hidden, outputs, None, head, scale)


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

    Args:
        input_shape: (channels, height, width) of an image.
        outputs: classes; without a head they are of no account.
        filters: of each block; the paper's unless given. With (16, 32, 64, 128) a step on images of 28x28 takes about as long
            as Conv4's with 64 filters, and the network is three times as deep.
        head: see ``conv4``.
        scale: of a cosine head.

    Raises:
        ConfigError: an image too small to be halved once a block.
    """
    channels, *size = input_shape
    require_whole(**{f"filters[{i}]": width for i, width in enumerate(filters)})
    if min(size) < 2 ** len(filters):
        raise ConfigError(f"input_shape={tuple(input_shape)} is too small for {len(filters)} residual blocks")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for block, width in enumerate(filters, start=1):
        layers[f"block{block}"] = ResidualBlock(channels, width)
        channels = width
    if head == "maps":
        return nn.Sequential(layers)
    layers["mean"] = nn.AdaptiveAvgPool2d(1)
    return _with_head(layers, channels, outputs, None, head, scale)


def _with_head(
    layers: OrderedDict[str, nn.Module],
    features: int,
    outputs: int,
    hidden: int | None,
    head: Head,
    scale: float,
    bias_transformation: int = 0,
) -> nn.Module:
    if head not in get_args(Head):
        raise unknown_name("head", head, get_args(Head))
    if head == "maps":
        raise ConfigError("head='maps': this network has no feature maps; choose one of convolutions, such as Conv4")
    layers.setdefault("flatten", nn.Flatten())
    if hidden is not None:
        require_whole(hidden=hidden)
        layers["hidden"] = nn.Linear(features, hidden)
        features = hidden
    if bias_transformation and head != "linear":
        raise ConfigError(f"bias_transformation={bias_transformation} is for a linear head's bias, and head={head!r} has none")
    for layer in with_bias_transformation(bias_transformation):
        layers["bias_transformation"] = layer
        features += bias_transformation
    if head != "none":  # made last, so that it takes no random numbers from the other layers
        require_whole(outputs=outputs)
        layers["head"] = CosineHead(features, outputs, scale) if head == "cosine" else nn.Linear(features, outputs)
    return nn.Sequential(layers)
