"""The picture of an episode of images."""

import torch
from torchvision.utils import make_grid

from metarl.tasks import Array, Episodes


def episode_picture(episodes: Episodes) -> Array:
    """Return a picture of the first episode, shape (height, width, 3), uint8.

    A row a class, support images left of a gap; right of another those without labels, in their order, row by row.
    """
    support, query = episodes.support, episodes.query
    sets = [examples.inputs[0][examples.targets[0].argsort(stable=True)] for examples in (support, query)]
    sets += [inputs[0] for inputs in episodes.unlabelled]
    ways = int(support.targets[0].max()) + 1
    parts = []
    for images in sets:
        scaled = (images - images.min()) / (images.max() - images.min()).clamp(min=1e-6)
        columns = -(-len(images) // ways)
        blank = scaled.new_full((ways * columns - len(images), *images.shape[1:]), 0.5)
        grid = make_grid(list(torch.cat([scaled, blank]).cpu()), nrow=columns, pad_value=0.5)
        parts += [torch.ones(3, grid.shape[1], 8), grid]
    picture = torch.cat(parts[1:], dim=2)
    pixels: Array = (255 * picture).byte().permute(1, 2, 0).numpy()
    return pixels
