"""What a problem is: where a task's experience comes from, and what the loss on it is."""

from abc import ABC, abstractmethod
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor

from metarl.learner import Learner

Phase = Literal["support", "query"]
Experience = TypeVar("Experience")
Tasks = Any
"""A meta-batch as its problem understands it: a list of a family's tasks, or a batch of episodes."""


class Problem(ABC, Generic[Experience]):
    """The only thing that tells a policy from a predictor.

    Parameters are the learner's full ones, ``learner.join(theta, shared)``. ``collect`` and ``measure`` work on all tasks
    at once; ``loss`` is written for one task, and ``torch.func.vmap`` adds the task axis.
    """

    learner: Learner
    figure: str
    """The name in ``measure`` of the figure that matters: ``"return"``, ``"accuracy"`` or ``"loss"``."""
    on_policy: bool
    """Whether the experience depends on the parameters that collect it."""

    @property
    def gain(self) -> int:
        """1 if a higher figure is better, -1 for a loss."""
        return -1 if self.figure == "loss" else 1

    @abstractmethod
    def count(self, tasks: Tasks) -> int:
        """Return how many tasks a meta-batch holds."""

    @abstractmethod
    def collect(self, parameters: Tensor, tasks: Tasks, phase: Phase, generator: torch.Generator) -> Experience:
        """Return experience with parameters of shape (tasks, P + S); every tensor in it has the task axis first."""

    @abstractmethod
    def loss(self, parameters: Tensor, experience: Experience) -> Tensor:
        """Return one task's loss, shape (), with parameters of shape (P + S,)."""

    def close(self) -> None:
        """Release what the problem holds, such as environments."""

    @abstractmethod
    def measure(self, parameters: Tensor, experience: Experience) -> dict[str, Tensor]:
        """Return what people want to know of each task's experience, each of shape (tasks,)."""
