"""Where each task's parameters begin, if that is not what is learned: drawn anew for every task."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from metarl import processes
from metarl.errors import require_positive
from metarl.learner import Learner


@dataclass(frozen=True)
class DrawnStart:
    r"""Draws $\theta_0 \sim N(\mu, \mathrm{diag}(\sigma^2))$.

    Attributes:
        mean: shape (P,).
        deviation: shape (P,).
    """

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, learner: Learner, network: nn.Module, deviation: float | None = None) -> Self:
        """Return the start of zero mean with one deviation for all, or one that is like the network's own initialisation.

        Like it means: each parameter tensor's entries have the mean and the deviation of its initial entries, so that biases
        of zero stay zero and a layer's weights keep their size.

        Args:
            learner: says where in theta each parameter lies.
            network: newly initialised.
            deviation: that of all coordinates; None for the network's.

        Raises:
            ConfigError: a deviation that is not above zero.
        """
        theta, _, _ = learner.initial(network)
        if deviation is not None:
            require_positive(start=deviation)
            return cls(torch.zeros_like(theta), torch.full_like(theta, deviation))
        parts = [part.flatten() for part in learner.layout.unflatten(theta).values()]
        mean = torch.cat([part.mean().expand_as(part) for part in parts])
        return cls(mean, torch.cat([part.std(correction=0).expand_as(part) for part in parts]))

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the starts of so many tasks, shape (count, P)."""
        mean = self.mean
        noise = processes.draw(
            lambda tasks: torch.randn(tasks, len(mean), generator=generator, device=mean.device, dtype=mean.dtype), count
        )
        return mean + self.deviation * noise
