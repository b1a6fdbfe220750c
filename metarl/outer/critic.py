"""A critic: a perceptron that values observations, one for all tasks, as a pure function of its numbers."""

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarl.networks import mlp
from metarl.problems.policy import Samples
from metarl.problems.returns import Values

Numbers = Mapping[str, Tensor]
"""The network's parameters by name."""


@cache
def _network(inputs: int, hidden: tuple[int, ...]) -> nn.Module:
    """Return the network without its numbers."""
    with torch.device("meta"):
        return mlp(inputs, 1, hidden, activation="tanh")


def initial_numbers(query: Samples, hidden: Sequence[int], generator: torch.Generator) -> dict[str, Tensor]:
    """Return where a critic starts, for observations as in the query experience, of its dtype and on its device.

    Args:
        query: what it will value.
        hidden: the width of each hidden layer.
        generator: drawn from once, for a seed.
    """
    seed = int(torch.randint(2**31 - 1, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = mlp(query.observations.shape[-1] + 1, 1, hidden, activation="tanh")
    return {name: value.detach().to(query.observations) for name, value in network.named_parameters()}


def values_of_steps(numbers: Numbers, query: Samples) -> Tensor:
    """Return the values of the observations before each step, shape (tasks, samples).

    The critic sees the observation and the steps before it, in hundreds: where a horizon cuts off, the value depends on it.
    """
    trajectories = query.lengths.shape[1]
    steps = torch.arange(query.rewards.shape[1] // trajectories, device=query.rewards.device)
    return _value(numbers, query.observations, steps.repeat(trajectories))


def values_of(numbers: Numbers, query: Samples) -> Values:
    """Return the values of all observations; the final ones also where an episode terminated."""
    with torch.no_grad():
        final = _value(numbers, query.last_observations, query.lengths)
        return Values(query.by_trajectory(values_of_steps(numbers, query)), final)


def _value(numbers: Numbers, observations: Tensor, steps: Tensor) -> Tensor:
    """Return values for observations of shape (..., observation) and the steps before them, shape (...) or one that fits."""
    time = (steps.to(observations) / 100).expand(observations.shape[:-1])
    inputs = torch.cat([observations, time[..., None]], dim=-1)
    widths = [value.shape[0] for name, value in numbers.items() if name.endswith("weight")]
    values: Tensor = functional_call(_network(inputs.shape[-1], tuple(widths[:-1])), dict(numbers), (inputs,))
    return values.squeeze(-1)
