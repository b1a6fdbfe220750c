"""What a problem is: where a task's experience comes from, and what the loss of a learner's outputs on it is."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from torch import Tensor

from metarl.errors import ConfigError

Phase = Literal["support", "query"]
Experience = TypeVar("Experience")
Tasks = Any
"""A meta-batch as its problem understands it: a list of a family's tasks, or a batch of episodes."""
SUCCESS = "success"
"""The name in ``measure`` of the rate of trajectories in which the task was done at some step, where environments say so."""
State = Any
"""What a learner carries from one input to the next; ``()`` where nothing is carried, and at the start."""
Apply = Callable[..., tuple[Tensor, State]]
"""``apply(inputs, state=()) -> (outputs, state)``: a learner with everything but its inputs settled."""


class Problem(ABC, Generic[Experience]):
    """The only thing that tells a policy from a predictor.

    ``collect`` works on all tasks at once, with an ``apply`` that does so too; ``loss`` and ``measure`` are written for one
    task, and ``torch.func.vmap`` adds the task axis.
    """

    metric: str
    """The name in ``measure`` of what matters: ``"return"``, ``"accuracy"`` or ``"loss"``."""
    on_policy: ClassVar[bool]
    """Whether the experience depends on the learner that collects it."""
    unit: ClassVar[str]
    """What ``timesteps`` counts, in words: ``"env_steps"`` or ``"tasks"``."""

    classes: int = 0
    """How many classes all training examples have; 0 where there are none."""

    @property
    def sign(self) -> int:
        """1 if a higher metric is better, -1 for a loss."""
        return -1 if self.metric == "loss" else 1

    @abstractmethod
    def count(self, tasks: Tasks) -> int:
        """Return how many tasks a meta-batch holds."""

    @abstractmethod
    def collect(self, apply: Apply, tasks: Tasks, phase: Phase, generator: torch.Generator) -> Experience:
        """Return experience of all tasks; every tensor in it has the task axis first.

        Args:
            apply: what acts, for all tasks at once: inputs of shape (tasks, examples, ...).
            tasks: the meta-batch.
            phase: whether it is adapted on, or adaptation is judged by it.
            generator: the source of noise.
        """

    @abstractmethod
    def loss(self, apply: Apply, experience: Experience) -> Tensor:
        """Return one task's loss, shape ()."""

    @abstractmethod
    def measure(self, apply: Apply, experience: Experience) -> dict[str, Tensor]:
        """Return what people want to know of one task's experience, by name, each of shape ()."""

    @abstractmethod
    def timesteps(self, experiences: list[Experience], count: int) -> Tensor:
        """Return how much of ``unit`` some experience of ``count`` tasks is, shape ().

        It is on the device of the experience; without any, as in pretraining, there is none to be on, and it is on the CPU.
        """

    def support_inputs(self, tasks: Tasks) -> Tensor:
        """Return all support inputs of the tasks, shape (tasks, examples, ...), where they are there before they are collected.

        Raises:
            ConfigError: trajectories are not there before they are sampled.
        """
        raise ConfigError("batch_norm='support': support inputs are known beforehand in few-shot episodes only")

    def unlabelled(self, tasks: Tasks) -> tuple[Tensor, ...]:
        """Return nothing, or the tasks' inputs without targets, shape (tasks, unlabelled examples, ...)."""
        return ()

    def counts(self) -> dict[str, float]:
        """Return what a log should know of the experience since the run began, by name."""
        return {}

    def close(self) -> None:
        """Release what the problem holds, such as environments."""
