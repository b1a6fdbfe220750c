"""Policies with memory: what they do depends on all that they saw before, in a trial of one task.

Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning"; Wang et al. 2016, "Learning to
Reinforcement Learn".
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from metarl.adapters.memory.recurrent import RecurrentCore
from metarl.sampling.distributions import DiagonalGaussian, Distribution
from metarl.sampling.stochastic_policy import MIN_LOG_STD, StochasticPolicy

LogStdFrom = Literal["parameter", "network"]


class MemoryPolicy(nn.Module, ABC):
    """Maps embedded observations, one after another, to distribution parameters, and remembers them.

    Many trials go side by side, in rows; no row sees another. Pure and without a task axis: ``torch.vmap`` adds it.

    Attributes:
        has_limit: whether there is room for no more steps than a trial in training has.
    """

    has_limit: ClassVar[bool] = False

    @abstractmethod
    def initial_state(self, rows: int) -> Any:
        """Return the memory before the first observation, any pytree of tensors of shape (rows, ...)."""

    def is_full(self, state: Any) -> bool:
        """Return whether there is a row without room for another step; not within ``torch.vmap``."""
        return False

    @abstractmethod
    def step(self, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return distribution parameters, shape (rows, size), for inputs of shape (rows, features), and the next memory.

        Without gradients the next memory may be in the given one's tensors, which then are no other step's to start from:
        who wants to keep a memory copies it.
        """

    def sequence(self, inputs: Tensor, state: Any = None) -> Tensor:
        """Return what ``step`` gives one after another, shape (rows, steps, size), for inputs (rows, steps, features).

        Args:
            inputs: shape (rows, steps, features).
            state: the memory before; None for an empty one.
        """
        state, outputs = self.initial_state(len(inputs)) if state is None else state, []
        for one in inputs.unbind(1):
            output, state = self.step(one, state)
            outputs.append(output)
        return torch.stack(outputs, 1)

    def live(self, inputs: Tensor, happened: Tensor, state: Any) -> Any:
        """Return the memory after sequences of inputs, shape (rows, steps, features).

        Args:
            inputs: shape (rows, steps, features).
            happened: which of them there were, shape (rows, steps).
            state: the memory before.
        """
        for one, was in zip(inputs.unbind(1), happened.unbind(1), strict=True):
            _, following = self.step(one, state)
            state = by_row(was, following, state)
        return state


def by_row(rows: Tensor, new: Any, old: Any) -> Any:
    """Return a memory that is the new one in some rows, and the old one in the others.

    What a step has written into the old memory's own tensors is left there: it says nothing until the memory has come so far.

    Args:
        rows: which, shape (rows,).
        new: tensors of shape (rows, ...).
        old: the same.
    """

    def of(new: Tensor, old: Tensor) -> Tensor:
        return new if new is old else torch.where(rows.view(-1, *[1] * (new.dim() - 1)), new, old)

    return tree_map(of, new, old)


class RecurrentPolicy(MemoryPolicy):
    """A recurrent core, and a linear layer of what it gives.

    Args:
        core: what remembers.
        distribution: of the actions.
        log_std: see ``StochasticPolicy``.
        log_std_from: see ``head``.
    """

    def __init__(
        self, core: RecurrentCore, distribution: Distribution, log_std: float = 0.0, log_std_from: LogStdFrom = "parameter"
    ) -> None:
        super().__init__()
        self.core = core
        self.head = head(core.outputs, distribution, log_std, log_std_from)

    def initial_state(self, rows: int) -> Any:
        """Return the core's state before the first step."""
        return tree_map(lambda one: one.expand(rows, *one.shape), self.core.initial_state())

    def step(self, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the core's next output as distribution parameters, and its state; see ``MemoryPolicy``."""
        output, state = self.core(inputs, state)
        return self.head(output), state

    def sequence(self, inputs: Tensor, state: Any = None) -> Tensor:
        """Return the distribution parameters of whole sequences, all inputs in one product; see ``MemoryPolicy``."""
        state, outputs = self.initial_state(len(inputs)) if state is None else state, []
        for projected in self.core.project(inputs).unbind(1):
            output, state = self.core.advance(projected, state)
            outputs.append(output)
        parameters: Tensor = self.head(torch.stack(outputs, 1))
        return parameters


class GaussianHead(nn.Module):
    """A linear layer from features to a Gaussian's mean and log standard deviation.

    Args:
        linear: gives twice as many numbers as an action has.
        log_std: what its latter half is added to; the sum is kept above log(1e-6).
    """

    def __init__(self, linear: nn.Linear, log_std: float) -> None:
        super().__init__()
        self.linear = linear
        self.log_std = log_std

    def forward(self, features: Tensor) -> Tensor:
        """Return the distribution's parameters at each row of features."""
        mean, log_std = self.linear(features).chunk(2, dim=-1)
        return torch.cat([mean, (self.log_std + log_std).clamp(min=MIN_LOG_STD)], dim=-1)


def head(
    features: int, distribution: Distribution, log_std: float, log_std_from: LogStdFrom = "parameter"
) -> StochasticPolicy | GaussianHead:
    """Return a linear layer from features to a distribution's parameters, which starts near nought: all actions are tried.

    Args:
        features: of an input.
        distribution: of the actions.
        log_std: where the log standard deviation of continuous actions starts.
        log_std_from: whether it is a trainable vector, or given by the layer too.
    """
    gaussian = log_std_from == "network" and isinstance(distribution, DiagonalGaussian)
    linear = nn.Linear(features, distribution.size if gaussian else distribution.outputs)
    nn.init.orthogonal_(linear.weight, 0.01)
    nn.init.zeros_(linear.bias)
    return GaussianHead(linear, log_std) if gaussian else StochasticPolicy(linear, distribution, log_std)
