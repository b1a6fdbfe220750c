"""What an adapter is: how a task's support experience changes the learner."""

from __future__ import annotations  # else torch.compile stumbles over those of nested functions

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from metarl.clock import Clock
from metarl.errors import ConfigError
from metarl.learner import Averages, Learner
from metarl.problems.base import Apply, Problem, State, Tasks

Meta = dict[str, Tensor]
"""The meta-parameters: ``"theta"``, shape (P,); ``"shared"``, shape (S,); ``"rule.<name>"`` or ``"reader.<name>"`` for an
update rule's or a reader's own; and ``"running.<name>"``, averages of normalisation layers, which no outer loop moves."""
Adapted = Any
"""What became of tasks: any pytree of tensors with the task axis first."""
Link = Callable[[Meta, Any], Any]
"""A piece of a replay: makes of the meta-parameters, and of what the piece before it returned, what the next one is handed."""
RUNNING = "running."


def learned(meta: Mapping[str, Tensor]) -> Meta:
    """Return the meta-parameters that an outer loop moves: all but the running averages."""
    return {name: value for name, value in meta.items() if not name.startswith(RUNNING)}


def averages(meta: Mapping[str, Tensor]) -> Averages:
    """Return the running averages among the meta-parameters, by the names of the network's buffers."""
    return {name[len(RUNNING) :]: value for name, value in meta.items() if name.startswith(RUNNING)}


@dataclass
class Adaptation:
    """What an adaptation did, kept so that an outer loop can replay it under other meta-parameters.

    Attributes:
        adapted: what the tasks were before the first and after each step; the last is what they became.
        experiences: the support experience, as ``replay`` takes it; of a gradient adapter one for each step.
        losses: the support loss before each step, each of shape (tasks,), detached; none where there are no steps.
        states: what the adapter remembers after each step, such as an update rule's state, with the task axis first.
    """

    adapted: list[Adapted] = field(default_factory=list)
    experiences: list[Any] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    states: list[Any] = field(default_factory=list)


class Adapter(ABC):
    """Makes of support experience whatever a task becomes, and applies it to inputs.

    It collects through the problem as often as it needs, and keeps what it collected, so that an outer loop can replay the same
    adaptation, differentiably, under other meta-parameters.

    Attributes:
        problem: gives experience and its loss.
        learner: the network as a function of its parameters.
        steps: T, how many times training adapts before the query experience; 0 where adapting takes no steps.
        clock: the seconds spent in sampling and in adaptation.
    """

    stage: ClassVar[str] = "inner step"
    """What ``steps`` counts, in words."""

    def __init__(self, problem: Problem[Any], learner: Learner, steps: int = 0) -> None:
        self.problem = problem
        self.learner = learner
        self.steps = steps
        self.clock = Clock()

    numbers_per_coordinate: int = 1
    """How many numbers adapting works with for each entry of theta; evaluations take fewer tasks at once where it is large."""
    first_order: bool = False
    """Whether inner gradients and losses are constants in the meta-gradient: then no graph of them is kept."""
    rate_names: tuple[str, ...] = ()
    """The meta-parameters that are rates, if the adapter learns nothing else of its own: hypergradients can move them."""

    @property
    def name(self) -> str:
        """What an error calls the adapter."""
        return type(self).__name__

    @abstractmethod
    def initial_meta(self, *modules: nn.Module) -> Meta:
        """Return where meta-learning starts: copies of the numbers of the network and of the adapter's other modules."""

    @abstractmethod
    def adapt(self, meta: Meta, tasks: Tasks, generator: torch.Generator, steps: int | None = None) -> Adaptation:
        """Adapt to every task with support experience that is collected on the way.

        Args:
            meta: the meta-parameters.
            tasks: the meta-batch.
            generator: the source of the experience's noise.
            steps: other than in training; None for as many.
        """

    @abstractmethod
    def experiences(self, tasks: Tasks, generator: torch.Generator) -> list[Any]:
        """Return the support experience that ``adapt`` would collect, where it does not depend on what is learned."""

    @abstractmethod
    def replay(self, meta: Meta, experiences: list[Any], count: int, path: list[Adapted] | None = None) -> Adapted:
        """Return what the tasks become on kept experience; pure, and differentiable in ``meta``.

        Args:
            meta: the meta-parameters.
            experiences: what an adaptation kept, or a part of it.
            count: the number of tasks.
            path: what the tasks truly were before the first and after each step: a replay of a part of the experience then has
                these values, so that every step is taken where it was, and the derivative of that part.
        """

    def replay_steps(self, meta: Meta, experiences: list[Any], count: int) -> list[Adapted]:
        """Return what the tasks were in a replay when each experience was collected, and at last what they become.

        Where tasks collect nothing with what they are on the way, as in a memory, there is the last alone.
        """
        return [self.replay(meta, experiences, count)]

    def replay_chain(self, experiences: list[Any], count: int) -> list[Link]:
        """Return a replay as pieces, whose graphs an outer loop need not keep together; the first is handed ``()``.

        Every piece is pure, and differentiable in both of its arguments; one after the other they are ``replay``. One piece
        unless an adapter knows more.
        """
        return [lambda meta, _: self.replay(meta, experiences, count)]

    @abstractmethod
    def apply(self, meta: Meta, adapted: Adapted, inputs: Tensor, state: State = ()) -> tuple[Tensor, State]:
        """Return one task's outputs for inputs of shape (examples, ...), and the state to carry to the next inputs."""

    def together(self, meta: Meta, adapted: Adapted) -> Apply:
        """Return ``apply`` for all tasks at once: inputs, outputs and states have the task axis first."""
        batched = torch.vmap(partial(self.apply, meta))
        return lambda inputs, state=(): batched(adapted, inputs, state)

    def policies(self, meta: Meta, adapted: Adapted) -> Apply:
        """Return the same as ``together``, to be called for step after step."""
        return self.together(meta, adapted)

    def of_tasks(self, function: Callable[[Apply, Any], Any], meta: Meta, adapted: Adapted, experience: Any) -> Any:
        """Return what a function of one task's ``apply`` and experience gives for every task, the task axis first."""

        def one(adapted: Adapted, experience: Any) -> Any:
            return function(partial(self.apply, meta, adapted), experience)

        return torch.vmap(one)(adapted, experience)

    def collect(self, meta: Meta, adapted: Adapted, tasks: Tasks, generator: torch.Generator) -> Any:
        """Return the query experience of every task, collected by what it has become."""
        with self.clock("sampling"), torch.no_grad():
            return self.problem.collect(self.policies(meta, adapted), tasks, "query", generator)

    def losses(self, meta: Meta, adapted: Adapted, experience: Any) -> Tensor:
        """Return every task's loss, shape (tasks,)."""
        losses: Tensor = self.of_tasks(self.problem.loss, meta, adapted, experience)
        return losses

    def measure(self, meta: Meta, adapted: Adapted, experience: Any) -> dict[str, Tensor]:
        """Return the problem's measures of every task, each of shape (tasks,)."""
        with torch.no_grad():
            measures: dict[str, Tensor] = self.of_tasks(self.problem.measure, meta, adapted, experience)
            return measures

    def row(self, adapted: Adapted, task: int) -> Adapted:
        """Return what one task became."""
        return tree_map(lambda tensor: tensor[task], adapted)

    def over(self, problem: Problem[Any]) -> Self:
        """Return the same adapter on a problem of the same learner, with a clock of its own."""
        other = copy.copy(self)
        other.problem, other.clock = problem, Clock()
        return other

    def track(self, meta: Meta, inputs: Tensor) -> Meta:
        """Return the meta-parameters with the moments of a batch of inputs, shape (examples, ...), in the running averages."""
        if not self.learner.keeps_averages:
            return meta
        with torch.no_grad():
            _, tracked = self.learner.track(meta["theta"], shared(meta), inputs, averages(meta))
        return with_averages(meta, tracked)

    def classifier_shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes, by name, of a classifier of so many classes on the network's features; pretraining asks for it.

        Raises:
            ConfigError: the network has no features that a classifier could be put on, as long as an adapter says no other.
        """
        raise ConfigError(f"outer=Pretraining() needs features to tell classes apart by, and {self.name} has none")

    def classify(self, meta: Meta, classifier: Mapping[str, Tensor], inputs: Tensor) -> tuple[Tensor, Meta]:
        """Return a classifier's logits, shape (examples, classes), and the meta-parameters with the batch's moments tracked."""
        raise ConfigError(f"outer=Pretraining() needs features to tell classes apart by, and {self.name} has none")

    def report(self, meta: Meta, adaptation: Adaptation) -> dict[str, Tensor]:
        """Return what a log should know of an adaptation, by name, each of shape ()."""
        return {f"support_loss_before_step_{step}": loss.mean() for step, loss in enumerate(adaptation.losses, start=1)}

    def describe(self, meta: Meta) -> dict[str, float]:
        """Return what a log should know of the meta-parameters, by name."""
        return {}


def unneeded(inputs: Tensor, state: State = ()) -> tuple[Tensor, State]:
    """Stand for the ``apply`` of experience that does not depend on what is learned."""
    raise AssertionError("experience that depends on what is learned must be collected by adapt()")


def shared(meta: Meta) -> Tensor:
    """Return the shared vector, shape (S,), which may be of no entries."""
    return meta["shared"] if "shared" in meta else meta["theta"].new_zeros(0)


def has_seen_nothing(meta: Meta) -> bool:
    """Return whether there are running averages, and no batch is in them yet."""
    counts = [value for name, value in averages(meta).items() if name.endswith("num_batches_tracked")]
    return bool(counts) and not any(bool(count) for count in counts)


def with_averages(meta: Meta, tracked: Averages) -> Meta:
    """Return the meta-parameters with other running averages."""
    return meta | {RUNNING + name: value for name, value in tracked.items()}


def initial_values(learner: Learner, network: nn.Module) -> Meta:
    """Return a network's numbers as meta-parameters."""
    theta, shared_values, tracked = learner.initial(network)
    meta = {"theta": theta} | ({"shared": shared_values} if shared_values.numel() else {})
    return with_averages(meta, tracked)
