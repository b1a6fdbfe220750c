"""What an outer loop is: one improvement of the meta-parameters from one meta-batch of tasks."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from metarl.adaptation import Adaptation, InnerLoop, Meta
from metarl.errors import NonFiniteError
from metarl.problems.base import Tasks


@dataclass
class Outcome:
    """What one outer step saw and did.

    Attributes:
        adaptation: the inner loop's adaptation, before the outer step; None if nobody asked for a report.
        query: the query experience.
        loss: the mean query loss before the outer step, shape ().
        metrics: further figures for the log, by name.
    """

    adaptation: Adaptation | None
    query: Any
    loss: Tensor
    metrics: dict[str, float | Tensor] = field(default_factory=dict)


class OuterLoop(ABC):
    """Improves the meta-parameters; changes the tensors of ``meta`` in place, or leaves them all as they were."""

    learns_from: ClassVar[Literal["tasks", "examples"]] = "tasks"
    """Whether a step is handed tasks, or a batch of labelled examples of all training classes."""

    @classmethod
    def of(cls, options: dict[str, Any]) -> Self:
        """Return the loop with these options, in plain containers as a checkpoint holds them."""
        return cls(**options)

    def check(self, inner: InnerLoop) -> None:  # noqa: B027 - most need nothing
        """Raise ConfigError if the loop cannot improve this inner loop's problem or rule."""

    def start(self, meta: Meta) -> None:  # noqa: B027
        """Prepare for these meta-parameters, for example make an optimiser."""

    @abstractmethod
    def step(self, inner: InnerLoop, meta: Meta, tasks: Tasks, generator: torch.Generator, report: bool = True) -> Outcome:
        """Adapt to the tasks, collect query experience, and improve ``meta``.

        Args:
            inner: the inner loop.
            meta: the meta-parameters, leaves that require gradients.
            tasks: this process's share of the meta-batch.
            generator: the run's source of noise.
            report: whether the outcome needs the adaptation, for a log.

        Raises:
            NonFiniteError: the loss or gradient is not finite; ``meta`` is unchanged.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs, in plain containers and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Take up what ``state_dict`` returned; after ``start``."""


def collect(inner: InnerLoop, meta: Meta, tasks: Tasks, generator: torch.Generator) -> tuple[Adaptation, Any]:
    """Adapt without a graph and collect the query experience, so that a replay can be differentiated."""
    with torch.no_grad():
        adaptation = inner.adapt(meta, tasks, generator)
        with inner.clock("sampling"):
            query = inner.problem.collect(adaptation.adapted, tasks, "query", generator)
    return adaptation, query


def require_finite(name: str, *values: Tensor) -> None:
    """Raise NonFiniteError unless every value is finite; called before the meta-parameters change."""
    if not all(math.isfinite(value.item()) if value.ndim == 0 else bool(value.isfinite().all()) for value in values):
        raise NonFiniteError(
            f"the {name} is not finite: the outer step was refused and the meta-parameters are unchanged; "
            "use smaller inner rates or a smaller outer step, or look for infinities in the data or rewards"
        )
