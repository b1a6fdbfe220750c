"""The trial adapter: a task becomes what a policy with memory remembers of the episodes that it lived through."""

import copy
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map

from metarl.adapters.base import Adaptation, Adapter, Meta, averages, initial_values, shared
from metarl.adapters.memory.policy import MemoryPolicy
from metarl.adapters.methods import Methods
from metarl.errors import ConfigError
from metarl.learner import Learner
from metarl.problems.base import Problem, State, Tasks
from metarl.problems.policy import PolicyProblem, Samples
from metarl.sampling.trajectories import recall_size

MEMORY = "memory."


class TrialAdapter(Adapter):
    """Lets a policy live through episodes of a task one after the other, and keep its memory.

    In training nothing comes before the query experience: that is whole trials from an empty memory, so that what is done in
    an episode counts by what it brings in later ones. Where a policy is judged or used, ``in_use()``, it adapts episode by
    episode. Every trajectory is a trial of its own, with a memory of its own.

    Args:
        problem: policies, with ``rollouts.recall``.
        learner: the embedding of an observation and of what is recalled, shape (examples, features).
        memory: what remembers; its parameters are where meta-learning starts, and are not kept here.
        episodes: of a trial.

    Raises:
        ConfigError: a problem without policies, or without recall.
    """

    stage: ClassVar[str] = "episode"

    def __init__(self, problem: Problem[Any], learner: Learner, memory: MemoryPolicy, episodes: int = 1) -> None:
        if not isinstance(problem, PolicyProblem):
            raise ConfigError(
                f"{type(memory).__name__} acts, and there is nothing to do here but to predict: choose a family of policies, "
                "such as metarl/BernoulliBandit-v0, or an agent that reads a support set, such as MANN or SNAIL"
            )
        if not problem.rollouts.recall:
            raise ConfigError("rollouts: recall=False hides from a policy with memory what it did and got: give recall=True")
        super().__init__(problem, learner)
        self._methods = Methods.of(memory)
        self._constants = {f"{MEMORY}{name}": value.detach().clone() for name, value in memory.named_buffers()}
        self.memory_name = type(memory).__name__
        self.episodes = episodes
        self._capacity = episodes if memory.has_limit else None

    def in_use(self) -> Self:
        """Return the adapter that lives through a trial episode by episode: the last one is the query experience."""
        other = copy.copy(self)
        other.steps, other.episodes = self.episodes - 1, 1
        return other

    def initial_meta(self, *modules: nn.Module) -> Meta:
        """Return the numbers of the embedding and the memory."""
        network, memory = modules
        meta = initial_values(self.learner, network)
        return meta | {f"{MEMORY}{name}": value.detach().clone().to(meta["theta"]) for name, value in memory.named_parameters()}

    def call(self, meta: Meta, method: str, *arguments: Any) -> Any:
        """Return what a method of the memory gives with the meta-learned parameters, for one task."""
        return functional_call(self._methods, Methods.values(MEMORY, meta, self._constants), (method, *arguments))

    def adapt(self, meta: Meta, tasks: Tasks, generator: torch.Generator, steps: int | None = None) -> Adaptation:
        """Live through episodes of every task, one after the other; see ``Adapter``.

        Raises:
            ConfigError: more episodes than the memory holds.
        """
        adaptation, steps = Adaptation([()]), self.steps if steps is None else steps
        if self._capacity is not None and steps + self.episodes > self._capacity:
            raise ConfigError(
                f"steps={steps}: {self.memory_name} has room for {self._capacity} episodes, as many as in training, the last "
                f"included: give at most {self._capacity - self.episodes}, or train with more episodes"
            )
        for _ in range(steps):
            with self.clock("sampling"):
                apply = self.together(meta, adaptation.adapted[-1])
                experience = self.problem.collect(apply, tasks, "support", generator)
            with self.clock("adaptation"):
                lived = self._live(meta, adaptation.adapted[-1], experience)
            adaptation.experiences.append(experience)
            adaptation.adapted.append(lived)
        return adaptation

    def experiences(self, tasks: Tasks, generator: torch.Generator) -> list[Samples]:
        """Return nothing: episodes depend on what is learned."""
        return []

    def collect(self, meta: Meta, adapted: Any, tasks: Tasks, generator: torch.Generator) -> Samples:
        """Return the query experience of every task: trials of ``episodes`` that go on from what was lived through."""
        problem = cast(PolicyProblem, self.problem)
        with self.clock("sampling"), torch.no_grad():
            return problem.collect(self.together(meta, adapted), tasks, "query", generator, self.episodes)

    def replay(self, meta: Meta, experiences: list[Samples], count: int, path: list[Any] | None = None) -> Any:
        """Return what is remembered of kept episodes; see ``Adapter``."""
        adapted: Any = ()
        for experience in experiences:
            adapted = self._live(meta, adapted, experience)
        return adapted

    def _live(self, meta: Meta, adapted: Any, experience: Samples) -> Any:
        """Return the memory after an episode, and what its end gives to recall."""

        def one(adapted: Any, experience: Samples) -> Any:
            inputs, state = self.start(meta, adapted, experience.by_trajectory(experience.observations))
            happened = experience.by_trajectory(experience.happened)
            recalled = experience.last_observations[..., -self._recalled :]
            return {"memory": self.call(meta, "live", self._embed(meta, inputs), happened, state), "recalled": recalled}

        return torch.vmap(one)(adapted, experience)

    def apply(self, meta: Meta, adapted: Any, inputs: Tensor, state: State = ()) -> tuple[Tensor, State]:
        """Return one task's distribution parameters for a step of every row, shape (rows, observation), and the next memory.

        Of whole sequences from the start, shape (rows, steps, observation), the parameters of each step are returned, shape
        (rows, steps, size), and no memory.
        """
        whole = inputs.dim() == 3
        if whole and not adapted:
            return self.call(meta, "sequence", self._embed(meta, inputs)), ()
        if isinstance(state, tuple) and not state:
            inputs, state = self.start(meta, adapted, inputs)
        if whole:
            return self.call(meta, "sequence", self._embed(meta, inputs), state), ()
        outputs: tuple[Tensor, State] = self.call(meta, "step", self._embed(meta, inputs), state)
        return outputs

    def start(self, meta: Meta, adapted: Any, inputs: Tensor) -> tuple[Tensor, State]:
        """Return a task's first inputs and the memory before them.

        After episodes that were lived through, their end is recalled, where a start has zeros.

        Args:
            meta: the meta-parameters.
            adapted: what the task became, of as many rows.
            inputs: shape (rows, observation), or of whole sequences, (rows, steps, observation).
        """
        if not adapted:
            return inputs, _own(self.call(meta, "initial_state", len(inputs)), inputs)
        whole = inputs if inputs.dim() == 3 else inputs[:, None]
        known, recalled = torch.split(whole[:, 0], [whole.shape[-1] - self._recalled, self._recalled], dim=1)
        first = torch.cat([known, recalled + adapted["recalled"]], dim=1)
        whole = torch.cat([first[:, None], whole[:, 1:]], dim=1)
        return whole.view(inputs.shape), _own(adapted["memory"], inputs)

    def require_room(self, meta: Meta, memory: Any) -> None:
        """Raise ConfigError unless every row of a memory, of one task, has room for another step."""
        if self._capacity is not None and self.call(meta, "is_full", memory):
            raise ConfigError(
                f"{self.memory_name} has room for the steps of {self._capacity} episodes, as many as in training, and all are "
                "taken: let trials be no longer than that, or train with more episodes"
            )

    @property
    def _recalled(self) -> int:
        return recall_size(cast(PolicyProblem, self.problem).distribution)

    def _embed(self, meta: Meta, inputs: Tensor) -> Tensor:
        return self.learner(meta["theta"], shared(meta), inputs, averages(meta))


def _own(memory: Any, inputs: Tensor) -> Any:
    """Return a copy of a memory that steps may write into, with the task axis that inputs have; see ``MemoryPolicy.step``."""
    if torch.is_grad_enabled():
        return memory
    return tree_map(lambda one: inputs.new_empty(one.shape, dtype=one.dtype).copy_(one), memory)
