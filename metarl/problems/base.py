"""What a problem is: where a task's experience comes from, and what the loss on it is."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, Literal, TypeVar

import torch
from torch import Tensor

Phase = Literal["support", "query"]
Experience = TypeVar("Experience")
Tasks = Any
"""A meta-batch as its problem understands it: a list of a family's tasks, or a batch of episodes."""
Apply = Callable[..., tuple[Tensor, Any]]
"""Maps inputs and a state, () unless something is carried on, to outputs and the next state."""


class Problem(ABC, Generic[Experience]):
    """The only thing that tells a policy from a predictor.

    ``collect`` works on all tasks at once; ``loss`` and ``measure`` are written for one task, and ``torch.func.vmap`` adds
    the task axis.
    """

    metric: str
    """The name in ``measure`` of what matters: ``"return"``, ``"accuracy"`` or ``"loss"``."""
    sign: int
    """1 if higher is better, -1 for a loss."""
    on_policy: bool
    """Whether the experience depends on the learner that collects it."""
    unit: str
    """What is counted as experience: ``"env_steps"`` or ``"tasks"``."""

    @abstractmethod
    def count(self, tasks: Tasks) -> int:
        """Return how many tasks a meta-batch holds."""

    @abstractmethod
    def collect(self, apply: Apply, tasks: Tasks, phase: Phase, generator: torch.Generator) -> Experience:
        """Return experience of all tasks; ``apply`` maps inputs (tasks, n, ...), and every tensor has the task axis first."""

    @abstractmethod
    def loss(self, apply: Apply, experience: Experience) -> Tensor:
        """Return one task's loss, shape ()."""

    @abstractmethod
    def measure(self, apply: Apply, experience: Experience) -> dict[str, Tensor]:
        """Return what people want to know of one task's experience, each of shape ()."""

    @abstractmethod
    def timesteps(self, experiences: list[Experience]) -> Tensor:
        """Return how much experience was collected, in ``unit``, shape ()."""

    def close(self) -> None:
        """Release what the problem holds, such as environments."""
