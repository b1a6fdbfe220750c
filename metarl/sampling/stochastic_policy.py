"""A stochastic policy: a network, and the action distribution that its output parametrises."""

import math

import torch
from torch import Tensor, nn

from metarl.errors import ConfigError
from metarl.normalisation import ObservationNorm
from metarl.sampling.distributions import DiagonalGaussian, Distribution

MIN_LOG_STD = math.log(1e-6)


class StochasticPolicy(nn.Module):
    """Maps observations, shape (..., observation), to distribution parameters, shape (..., size).

    For continuous actions the network gives the mean, and the log standard deviation is a trainable vector that does not
    depend on the observation, as in MAML's and Meta-SGD's 2D navigation.

    Args:
        network: maps observations to ``distribution.outputs`` numbers: the mean, or the logits.
        distribution: the family of action distributions.
        log_std: where the log standard deviation starts; it is kept above log(1e-6).
        normalised: the entries of an observation, if the network sees them less their mean and divided by their deviation;
            0 if it sees them as they are.
    """

    def __init__(self, network: nn.Module, distribution: Distribution, log_std: float = 0.0, normalised: int = 0) -> None:
        super().__init__()
        self.norm = ObservationNorm(normalised) if normalised else nn.Identity()
        self.network = network
        self.distribution = distribution
        if isinstance(distribution, DiagonalGaussian):
            self.log_std = nn.Parameter(torch.full((distribution.outputs,), float(log_std)))

    def forward(self, observations: Tensor) -> Tensor:
        """Return the distribution's parameters at each observation."""
        output: Tensor = self.network(self.norm(observations))
        if not isinstance(self.distribution, DiagonalGaussian):
            return output
        log_std = self.log_std.clamp(min=MIN_LOG_STD)
        return torch.cat([output, log_std.expand(output.shape)], dim=-1)


def check_fit(policy: StochasticPolicy, observation: Tensor) -> None:
    """Run the policy once on an observation batch, and see that its output fits the action distribution.

    Raises:
        ConfigError: the network fails on the observation, or gives another number of outputs than the actions need.
    """
    needed = policy.distribution.outputs
    try:
        with torch.no_grad():
            output = policy.network(observation)
    except RuntimeError as error:
        raise ConfigError(
            f"policy={type(policy.network).__name__} cannot take an observation batch of shape "
            f"{tuple(observation.shape)}: {error}"
        ) from error
    if output.shape != (*observation.shape[:-1], needed):
        raise ConfigError(
            f"policy={type(policy.network).__name__} gives outputs of shape {tuple(output.shape)} for observations "
            f"{tuple(observation.shape)}, but the action space needs {needed} outputs: change its last layer"
        )
