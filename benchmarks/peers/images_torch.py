"""The side of ``images.py`` of a library on PyTorch."""

import sys

from images_data import FILTERS, INNER_RATE, WAYS, episodes, parameter
from torch import nn
from torch_maml import fill, gradient_norm, meta_gradient
from turns import Measures, seconds_of, serve


def conv4() -> nn.Module:
    """Return the network, which normalises with the moments of the images at hand."""
    layers: list[nn.Module] = []
    for channels in (1, FILTERS, FILTERS, FILTERS):
        norm = nn.BatchNorm2d(FILTERS, track_running_stats=False)
        layers += [nn.Conv2d(channels, FILTERS, 3, padding=1), norm, nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(FILTERS, WAYS))


def prepare():
    """Take the meta-gradient once: the first has new memory."""
    network = conv4()
    fill(network.parameters(), [parameter(index, value.shape) for index, value in enumerate(network.parameters())])
    gradient = meta_gradient(sys.argv[1], network, nn.functional.cross_entropy, INNER_RATE)
    tasks = list(zip(*episodes(), strict=True))
    same = {"loss": float(gradient(tasks)), "norm of the meta-gradient": gradient_norm(network)}

    def measure() -> Measures:
        return {"seconds": seconds_of(lambda: gradient(tasks)), **same}

    return measure


serve(prepare)
