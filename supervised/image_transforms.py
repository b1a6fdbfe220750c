"""From the bytes of images to what a network is shown: numbers in [0, 1], normalised colours, distortions."""

from typing import Literal

import torch
from torch import Tensor

from metarl.supervised.distortions import affine

Normalisation = Literal["none", "imagenet"]
Distortions = Literal["none", "affine"]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""The mean and deviation of ImageNet's colours, in [0, 1]."""


def pixels(images: Tensor, dtype: torch.dtype, normalisation: Normalisation) -> Tensor:
    """Return uint8 images of shape (..., channels, height, width) as numbers in [0, 1], normalised if asked."""
    scaled = images.to(dtype) / 255
    return scaled if normalisation == "none" else normalised(scaled)


def normalised(scaled: Tensor) -> Tensor:
    """Return colours in [0, 1], shape (..., 3, height, width), less ImageNet's mean and divided by its deviation."""
    mean, deviation = (scaled.new_tensor(values)[:, None, None] for values in IMAGENET)
    return (scaled - mean) / deviation


def distorted(inputs: Tensor, normalisation: Normalisation, generator: torch.Generator) -> Tensor:
    """Return inputs of shape (..., channels, height, width), each under a map of its own; black comes in from outside."""
    images = inputs.flatten(0, -4)
    if normalisation == "none":
        return affine(images, generator).view_as(inputs)
    black = normalised(torch.zeros_like(images[:1]))
    return (affine(images - black, generator) + black).view_as(inputs)
