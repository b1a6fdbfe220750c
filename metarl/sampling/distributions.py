"""The two action distributions, as plain functions of one parameter tensor, so that vmap, jvp and vjp go through.

``torch.distributions`` holds state and checks values in Python, which ``vmap`` cannot follow.
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import one_hot


class Distribution(ABC):
    """A family of action distributions.

    ``distribution_parameters`` are tensors whose last axis has ``size`` entries; a network's own parameters never come here.

    Attributes:
        outputs: how many numbers a network must put out for this distribution.
        size: how many numbers parametrise it.
    """

    outputs: int
    size: int

    @abstractmethod
    def noise(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        """Draw the noise that ``sample`` turns into actions; shape (*shape, noise)."""

    @abstractmethod
    def sample(self, distribution_parameters: Tensor, noise: Tensor) -> Tensor:
        """Return actions, shape (..., action) or (...) if discrete."""

    @abstractmethod
    def mode(self, distribution_parameters: Tensor) -> Tensor:
        """Return the most probable actions."""

    @abstractmethod
    def encode(self, actions: Tensor) -> Tensor:
        """Return actions as numbers that a network can take, shape (..., outputs)."""

    @abstractmethod
    def log_prob(self, distribution_parameters: Tensor, actions: Tensor) -> Tensor:
        """Return the joint log-density or log-probability of each action, shape (...)."""

    @abstractmethod
    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """Return KL(old || new), shape (...)."""

    @abstractmethod
    def fisher(self, distribution_parameters: Tensor, tangent: Tensor) -> Tensor:
        """Return the Fisher information, in the parameters' coordinates, times a tangent; both (..., size)."""

    @abstractmethod
    def entropy(self, distribution_parameters: Tensor) -> Tensor:
        """Return the entropy in nats, shape (...)."""


class DiagonalGaussian(Distribution):
    """A Gaussian parametrised by [mean, log standard deviation], each of ``size`` entries."""

    def __init__(self, size: int) -> None:
        self.outputs = size
        self.size = 2 * size

    def noise(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        """Draw standard normal noise."""
        return torch.randn(*shape, self.outputs, generator=generator, device=like.device, dtype=like.dtype)

    def sample(self, distribution_parameters: Tensor, noise: Tensor) -> Tensor:
        """Return mean + std * noise."""
        mean, log_std = distribution_parameters.chunk(2, dim=-1)
        return mean + log_std.exp() * noise

    def mode(self, distribution_parameters: Tensor) -> Tensor:
        """Return the mean."""
        return distribution_parameters.chunk(2, dim=-1)[0]

    def encode(self, actions: Tensor) -> Tensor:
        """Return the actions as they are."""
        return actions

    def log_prob(self, distribution_parameters: Tensor, actions: Tensor) -> Tensor:
        """Return the log-density, summed over the action's entries."""
        mean, log_std = distribution_parameters.chunk(2, dim=-1)
        z = (actions - mean) * (-log_std).exp()
        return (-0.5 * z.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """Return KL(old || new) in closed form."""
        old_mean, old_log_std = old.chunk(2, dim=-1)
        new_mean, new_log_std = new.chunk(2, dim=-1)
        variance_ratio = (2 * (old_log_std - new_log_std)).exp()
        distance = ((old_mean - new_mean) * (-new_log_std).exp()).square()
        return (0.5 * (variance_ratio + distance - 1) + new_log_std - old_log_std).sum(-1)

    def fisher(self, distribution_parameters: Tensor, tangent: Tensor) -> Tensor:
        """Multiply the mean's part by 1 / variance and the log standard deviation's by 2."""
        _, log_std = distribution_parameters.chunk(2, dim=-1)
        mean_tangent, log_std_tangent = tangent.chunk(2, dim=-1)
        return torch.cat([mean_tangent * (-2 * log_std).exp(), 2 * log_std_tangent], dim=-1)

    def entropy(self, distribution_parameters: Tensor) -> Tensor:
        """Return the differential entropy."""
        _, log_std = distribution_parameters.chunk(2, dim=-1)
        return (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


class Categorical(Distribution):
    """A choice among ``size`` actions, parametrised by logits."""

    def __init__(self, size: int) -> None:
        self.outputs = size
        self.size = size

    def noise(self, shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
        """Draw standard Gumbel noise."""
        uniform = torch.rand(*shape, self.outputs, generator=generator, device=like.device, dtype=like.dtype)
        tiny = torch.finfo(like.dtype).tiny
        return -(-uniform.clamp(min=tiny).log()).clamp(min=tiny).log()

    def sample(self, distribution_parameters: Tensor, noise: Tensor) -> Tensor:
        """Return the indices of the largest perturbed logits (the Gumbel-max trick)."""
        return (distribution_parameters + noise).argmax(-1)

    def mode(self, distribution_parameters: Tensor) -> Tensor:
        """Return the indices of the largest logits."""
        return distribution_parameters.argmax(-1)

    def encode(self, actions: Tensor) -> Tensor:
        """Return 1 at the chosen index, else 0."""
        return one_hot(actions.long(), self.size)

    def log_prob(self, distribution_parameters: Tensor, actions: Tensor) -> Tensor:
        """Return the log-probability of the chosen indices."""
        return distribution_parameters.log_softmax(-1).gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)

    def kl(self, old: Tensor, new: Tensor) -> Tensor:
        """Return KL(old || new)."""
        old_log, new_log = old.log_softmax(-1), new.log_softmax(-1)
        return (old_log.exp() * (old_log - new_log)).sum(-1)

    def fisher(self, distribution_parameters: Tensor, tangent: Tensor) -> Tensor:
        """Return p * (tangent - <p, tangent>)."""
        p = distribution_parameters.softmax(-1)
        return p * (tangent - (p * tangent).sum(-1, keepdim=True))

    def entropy(self, distribution_parameters: Tensor) -> Tensor:
        """Return the entropy of the choice."""
        log_p = distribution_parameters.log_softmax(-1)
        return -(log_p.exp() * log_p).sum(-1)
