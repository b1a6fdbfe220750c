"""The side of ``sine.py`` of a library on PyTorch."""

import itertools
import sys

import sine_data
import torch
from sine_data import INNER_RATE, OUTER_RATE, QUERIES, SHOTS, SIZES, TASKS
from torch import Tensor, nn
from torch_maml import fill, gradient_norm, meta_gradient
from turns import Measures, seconds_of, serve


def uniform(bounds: tuple[float, float], *shape: int) -> Tensor:
    """Draw from a range."""
    return bounds[0] + (bounds[1] - bounds[0]) * torch.rand(shape)


def draw() -> list[tuple[Tensor, ...]]:
    """Return a meta-batch of new tasks."""
    bounds = sine_data.AMPLITUDE, sine_data.PHASE, sine_data.FREQUENCY
    amplitude, phase, frequency = (uniform(one, TASKS, 1, 1) for one in bounds)
    inputs = uniform(sine_data.INPUT, TASKS, SHOTS + QUERIES, 1)
    targets = amplitude * torch.sin(frequency * inputs + phase)
    parts = inputs[:, :SHOTS], targets[:, :SHOTS], inputs[:, SHOTS:], targets[:, SHOTS:]
    return list(zip(*parts, strict=True))


def prepare():
    """Take the meta-gradient that all sides take."""
    layers = [part for i, o in itertools.pairwise(SIZES) for part in (nn.Linear(i, o), nn.ReLU())]
    network = nn.Sequential(*layers[:-1])
    fill(network.parameters(), map(torch.from_numpy, sine_data.parameters()))
    gradient = meta_gradient(sys.argv[1], network, nn.functional.mse_loss, INNER_RATE)
    optimiser = torch.optim.Adam(network.parameters(), OUTER_RATE)
    loss = gradient(list(zip(*map(torch.from_numpy, sine_data.episodes()), strict=True)))
    same = {"loss": float(loss), "norm of the meta-gradient": gradient_norm(network)}

    def step() -> None:
        gradient(draw())
        optimiser.step()

    seconds_of(step)

    def measure() -> Measures:
        return {"seconds": seconds_of(step), **same}

    return measure


serve(prepare)
