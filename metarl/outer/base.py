"""What an outer loop is: one improvement of the meta-parameters from one meta-batch of tasks."""

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from metarl import processes
from metarl.adapters.base import Adaptation, Adapter, Meta
from metarl.errors import NonFiniteError
from metarl.outer.meta_gradient import Batch, gather
from metarl.problems.base import Tasks

State = Any
"""What an outer loop remembers from step to step: dictionaries of tensors, as a checkpoint holds them."""


@dataclass
class Outcome:
    """What one outer step saw and did.

    Attributes:
        meta: the meta-parameters after the step.
        loss: the mean query loss before it, shape ().
        adaptation: the adaptation before it; None if nobody asked for a report.
        query: the query experience.
        metrics: what else a log should know, by name; a name without a slash is put under ``train/``.
        timesteps: environment steps that the loop took by itself; None where they are counted in its experience.
    """

    meta: Meta
    loss: Tensor
    adaptation: Adaptation | None = None
    query: Any = None
    metrics: dict[str, float | Tensor] = field(default_factory=dict)
    timesteps: int | None = None


class TaskSource(Protocol):
    """Where an outer loop's tasks come from."""

    def sample(self, n: int, split: str, generator: torch.Generator, first: int = 0) -> Tasks:
        """Return a meta-batch of n tasks; ``first`` counts the tasks the run has had before."""
        ...

    def slice(self, tasks: Tasks, rows: slice) -> Tasks:
        """Return some tasks of a meta-batch."""
        ...

    def examples(self, n: int, generator: torch.Generator) -> Any:
        """Return a batch of n labelled examples of all training classes."""
        ...


class OuterLoop(ABC):
    """Improves the meta-parameters. Its options are frozen and its state is passed, so a loop serves any number of runs."""

    steps_per_call: int = 1
    """How many outer steps ``improve_often`` takes; a loop that takes several tells so here."""

    def options(self) -> dict[str, Any]:
        """Return the loop's options by name, in plain containers: a loop is a frozen dataclass of them."""
        return asdict(self) if is_dataclass(self) else {}

    def check(self, adapter: Adapter) -> None:  # noqa: B027 - most need nothing
        """Raise ConfigError if the loop cannot improve this adapter's meta-parameters on its problem."""

    def init(self, adapter: Adapter, meta: Meta, generator: torch.Generator) -> State:
        """Return the state before the first step.

        Args:
            adapter: what will be improved.
            meta: its meta-parameters.
            generator: draws what has to start at random, such as a classifier.
        """
        return {}

    def require_state(self, meta: Meta, ours: State, theirs: State) -> None:  # noqa: B027
        """Raise CheckpointError if a checkpoint's state cannot follow on what ``init`` returned for these meta-parameters."""

    def draw(self, source: TaskSource, n: int, generator: torch.Generator, first: int) -> tuple[Tasks, Tasks]:
        """Return the tasks of a step, n in all: everybody's, and this process's share of them.

        Args:
            source: where they come from.
            n: the meta-batch.
            generator: the run's stream of tasks.
            first: how many tasks the run has had before.
        """
        tasks = source.sample(n, "train", generator, first)
        return tasks, source.slice(tasks, processes.rows_of_this(n)) if processes.count() > 1 else tasks

    def gather(self, adapter: Adapter, meta: Meta, tasks: Tasks, generator: torch.Generator, report: bool = True) -> Batch:
        """Return the experience of one step: adapt to the tasks as far as that needs it, and collect query experience.

        Args:
            adapter: adapts to the tasks.
            meta: the meta-parameters.
            tasks: this process's share of the meta-batch.
            generator: the run's stream of noise.
            report: whether a log needs the adaptation.
        """
        return gather(adapter, meta, tasks, generator, report)

    @abstractmethod
    def improve(
        self, adapter: Adapter, meta: Meta, state: State, batch: Batch, generator: torch.Generator
    ) -> tuple[Outcome, State]:
        """Return better meta-parameters, and the state after the step; what is handed in stays as it is.

        Args:
            adapter: replays the adaptation.
            meta: the meta-parameters.
            state: what ``init`` or the step before returned.
            batch: what ``gather`` returned.
            generator: the run's stream of noise.

        Raises:
            NonFiniteError: the loss or gradient is not finite.
        """

    def improve_often(
        self, adapter: Adapter, meta: Meta, state: State, batch: Batch, generator: torch.Generator
    ) -> tuple[Outcome, State]:
        """Take ``steps_per_call`` steps; the arguments are ``improve``'s, and the batch has all their tasks, step by step."""
        raise NotImplementedError

    def step(
        self, adapter: Adapter, meta: Meta, state: State, tasks: Tasks, generator: torch.Generator, report: bool = True
    ) -> tuple[Outcome, State]:
        """Take one step: ``gather``, and ``improve``; see there."""
        return self.improve(adapter, meta, state, self.gather(adapter, meta, tasks, generator, report), generator)

    def improve_together(
        self,
        adapter: Adapter,
        metas: list[Meta],
        states: list[State],
        batches: list[Batch],
        generators: list[torch.Generator],
    ) -> list[tuple[Outcome, State] | NonFiniteError]:
        """Return what ``improve`` gives for each of several runs that are alike but for their numbers, or its error.

        One run after the other, unless a loop knows how to take the runs as one more batched axis.
        """
        results: list[tuple[Outcome, State] | NonFiniteError] = []
        for meta, state, batch, generator in zip(metas, states, batches, generators, strict=True):
            try:
                results.append(self.improve(adapter, meta, state, batch, generator))
            except NonFiniteError as error:
                results.append(error)
        return results


def require_finite(name: str, *values: Tensor) -> None:
    """Raise NonFiniteError unless every value is finite; called before the step is taken."""
    if not all(math.isfinite(value.item()) if value.ndim == 0 else bool(value.isfinite().all()) for value in values):
        raise NonFiniteError(
            f"the {name} is not finite: the outer step was refused and the meta-parameters are unchanged; "
            "use smaller inner rates or a smaller outer step, or look for infinities in the data or rewards"
        )
