"""Policies with memory: what they do depends on all that they saw before, in a trial of one task.

Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning"; Wang et al. 2016, "Learning to
Reinforcement Learn".
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from metarl.adapters.memory.recurrent import RecurrentCore
from metarl.sampling.distributions import Distribution
from metarl.sampling.stochastic_policy import StochasticPolicy


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

    @abstractmethod
    def step(self, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return distribution parameters, shape (rows, size), for inputs of shape (rows, features), and the next memory."""

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
            state = tree_map(
                lambda new, old, was=was: torch.where(was.view(-1, *[1] * (new.dim() - 1)), new, old), following, state
            )
        return state


class RecurrentPolicy(MemoryPolicy):
    """A recurrent core, and a linear layer of what it gives.

    Args:
        core: what remembers.
        distribution: of the actions.
        log_std: see ``StochasticPolicy``.
    """

    def __init__(self, core: RecurrentCore, distribution: Distribution, log_std: float = 0.0) -> None:
        super().__init__()
        self.core = core
        self.head = head(core.outputs, distribution, log_std)

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


def head(features: int, distribution: Distribution, log_std: float) -> StochasticPolicy:
    """Return a linear layer from features to a distribution's parameters, which starts near nought: all actions are tried."""
    linear = nn.Linear(features, distribution.outputs)
    nn.init.orthogonal_(linear.weight, 0.01)
    nn.init.zeros_(linear.bias)
    return StochasticPolicy(linear, distribution, log_std)
