"""Where each task's parameters begin, if that is not what is learned: drawn anew for every task."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metarl import processes
from metarl.errors import require_positive
from metarl.learner import Layout


@dataclass(frozen=True)
class DrawnStart:
    r"""Draws normal $\theta_0$: of zero mean and one deviation for all, or like the network's own initialisation.

    Like it means: the entries of each parameter tensor have the mean and the deviation of its entries in theta, which holds the
    network as it was initialised. So biases of zero stay zero, and a layer's weights keep their size.

    Attributes:
        layout: says where in theta each parameter lies.
        deviation: that of all coordinates; None for the network's own.

    Raises:
        ConfigError: a deviation that is not above zero.
    """

    layout: Layout
    deviation: float | None = None

    def __post_init__(self) -> None:
        if self.deviation is not None:
            require_positive(start=self.deviation)

    def moments(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means and the deviations of all coordinates, shape (P,) each, for a theta as it was initialised."""
        if self.deviation is not None:
            return torch.zeros_like(theta), torch.full_like(theta, self.deviation)
        parts = [part.flatten() for part in self.layout.unflatten(theta.detach()).values()]
        mean = torch.cat([part.mean().expand_as(part) for part in parts])
        return mean, torch.cat([part.std(correction=0).expand_as(part) for part in parts])

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """Return standard normal numbers for so many tasks, shape (count, P), float64."""
        size, device = self.layout.size, generator.device
        return processes.draw(
            lambda tasks: torch.randn(tasks, size, generator=generator, device=device, dtype=torch.float64), count
        )

    def of(self, theta: Tensor, noise: Tensor) -> Tensor:
        """Return the starts that noise leads to, shape (tasks, P), for a theta as it was initialised."""
        mean, deviation = self.moments(theta)
        return mean + deviation * noise.to(theta)
