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

    An angle, two shears, two scales and two shifts are drawn within the constants above, or left out. A point is scaled,
    sheared, turned, then shifted.

    Args:
        images: shape (images, channels, height, width), floating point.
        generator: on their device.
    """
    components = draw_components(len(images), generator)  # whatever the images' dtype: the same maps
    return transformed(images, matrices(components.to(images.dtype)))


def draw_components(n: int, generator: torch.Generator) -> Tensor:
    """Return n maps' components, shape (n, 7): each uniform in [-1, 1] with probability ``CHANCE``, else 0."""
    unit = torch.rand(n, 7, generator=generator, device=generator.device)
    inside = (unit - (1 - CHANCE)) / CHANCE  # below 0: left out; else uniform in [0, 1)
    return torch.where(inside < 0, 0.0, 2 * inside - 1)


def matrices(components: Tensor) -> Tensor:
    """Return the maps of components in [-1, 1], shape (images, 2, 3), x before y, as ``transformed`` takes them.

    Args:
        components: shape (images, 7): angle, shears along x and y, scales of x and y, shifts along x and y; 0 for none.
    """
    angle, shear_x, shear_y = components[:, :3].unbind(1)
    angle = math.radians(ROTATION) * angle
    cosine, sine, one = angle.cos(), angle.sin(), torch.ones_like(angle)
    turn = torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)
    shear = torch.stack([one, SHEAR * shear_x, SHEAR * shear_y, one], dim=1).view(-1, 2, 2)
    scales, shift = 1 + SCALE * components[:, None, 3:5], 2 * SHIFT * components[:, 5:, None]
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
    a, b, c, d = linear.flatten(1).unbind(1)
    adjugate = torch.stack([d, -b * (height / width), -c * (width / height), a], dim=1)
    back = (adjugate / (a * d - b * c)[:, None]).view(-1, 2, 2)
    grid = functional.affine_grid(torch.cat([back, -back @ shift], dim=2), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)
