"""Random affine distortions of images, each drawn apart.

Koch, Zemel and Salakhutdinov 2015, "Siamese Neural Networks for One-shot Image Recognition", section 3.3. The paper's shift is
of 2 pixels of its 105x105 images; here it is the same part of the side whatever the size.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

ROTATION = 10.0
"""The largest rotation either way, in degrees."""
SHEAR = 0.3
"""The largest shear either way along each axis, in pixels a pixel."""
SCALE = 0.2
"""The largest part by which each axis grows or shrinks: factors from 0.8 to 1.2."""
SHIFT = 2 / 105
"""The largest shift either way along each axis, as a part of the side."""
CHANCE = 0.5
"""The probability with which each of the seven components is there."""


def affine(images: Tensor, generator: torch.Generator) -> Tensor:
    """Return every image under an affine map of its own about its centre; what comes in from outside is 0.

    Seven components are drawn for each image, and each is left out with probability 1 - ``CHANCE``: an angle, two shears, two
    scales and two shifts, uniform within the constants above. A point is scaled, sheared, turned, then shifted.

    Args:
        images: shape (images, channels, height, width), floating point.
        generator: on their device.
    """
    unit = torch.rand(len(images), 7, generator=generator, device=images.device)  # whatever the dtype: the same map
    inside = unit.sub(1 - CHANCE).div(CHANCE)  # below 0: left out; else uniform in [0, 1)
    drawn = torch.where(inside < 0, 0.0, 2 * inside - 1)
    return transformed(images, matrices(drawn.to(images.dtype)))


def matrices(drawn: Tensor) -> Tensor:
    """Return the maps that components in [-1, 1] stand for, shape (images, 2, 3), in units of half a side, x before y.

    Args:
        drawn: shape (images, 7): angle, shears along x and y, scales of x and y, shifts along x and y; 0 for none.
    """
    angle, shear_x, shear_y = drawn[:, :3].unbind(1)
    angle = math.radians(ROTATION) * angle
    cosine, sine, one = angle.cos(), angle.sin(), torch.ones_like(angle)
    turn = torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)
    shear = torch.stack([one, SHEAR * shear_x, SHEAR * shear_y, one], dim=1).view(-1, 2, 2)
    scales, shift = 1 + SCALE * drawn[:, None, 3:5], 2 * SHIFT * drawn[:, 5:, None]
    return torch.cat([turn @ shear * scales, shift], dim=2)


def transformed(images: Tensor, maps: Tensor) -> Tensor:
    """Return images under maps, by bilinear interpolation.

    Args:
        images: shape (images, channels, height, width).
        maps: shape (images, 2, 3): where a point (x, y), measured from the centre, goes; in pixels the same for x as for y, so
            that an oblong image is turned and not skewed. Shifts are in halves of the image's own sides.
    """
    height, width = images.shape[2:]
    linear, shift = maps[:, :, :2], maps[:, :, 2:]
    (a, b), (c, d) = (row.unbind(1) for row in linear.unbind(1))
    back = (
        torch.stack([d, -b * (height / width), -c * (width / height), a], dim=1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]
    )
    grid = functional.affine_grid(torch.cat([back, -back @ shift], dim=2), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)
