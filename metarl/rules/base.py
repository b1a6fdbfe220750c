"""What an update rule is: one pure step from a gradient to new parameters."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from metarl.learner import Layout

State = Any
"""A rule's memory within one adaptation: a tensor, or tuples and dictionaries of tensors; ``()`` for none."""


class UpdateRule(nn.Module, ABC):
    """One inner step for one task; its parameters are meta-learned together with theta.

    A rule is a pure function: it changes nothing in place and keeps nothing on itself between steps; what it has to
    remember goes through ``state``. It sees one task: ``torch.func.vmap`` adds the task axis.

    Args:
        layout: the names and shapes behind theta's P coordinates.
    """

    rate_parameters: tuple[str, ...] = ()
    """The names of the parameters that are rates, so that hypergradient descent may move them as alpha."""
    numbers_per_coordinate: int = 1
    """How many numbers a step works with for each coordinate; evaluations take fewer tasks at once where it is large."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout

    def initial_state(self, theta: Tensor) -> State:
        """Return the state before the first step, for theta of shape (P,); none by default."""
        return ()

    @abstractmethod
    def forward(self, theta: Tensor, gradient: Tensor, loss: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """Return the moved theta, shape (P,), and the state for the next step.

        Args:
            theta: the task's parameters before the step, shape (P,).
            gradient: the support loss's gradient at theta, shape (P,).
            loss: the support loss at theta, shape ().
            state: what ``initial_state`` or the step before returned.
            step: the number of the step, from 0.
        """

    @property
    def learned(self) -> bool:
        """Whether the rule has parameters of its own, which are meta-learned."""
        return next(self.parameters(), None) is not None

    def rates(self, step: int = 0) -> Tensor | None:
        """Return the rule's rate for every coordinate at a step, shape (P,), for logs and pictures; None if it has none."""
        return None

    def gates(self, state: State) -> dict[str, Tensor]:
        """Return what a state says of the step before it, by name, each of shape (P,), for logs and pictures; or nothing."""
        return {}
