"""Supervised episodes: the experience is a support or a query set, whatever theta."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metarl.learner import Learner
from metarl.problems.base import Phase, Problem
from metarl.tasks import Episodes, Examples

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps outputs and targets of one task, shapes (examples, ...), to the loss, shape ()."""
Measures = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""Maps the same to what people want to know, by name, each of shape ()."""


class Query(NamedTuple):
    """A query set with its support set's inputs at hand, from which batch-normalisation takes its statistics."""

    inputs: Tensor
    targets: Tensor
    support: Tensor


class SupervisedProblem(Problem[Examples | Query]):
    """Few-shot regression and classification.

    Args:
        learner: maps inputs of shape (examples, ...) to outputs (examples, ...).
        loss: the loss of one task's set; its reduction (mean over examples, or other) is the caller's choice.
        measures: what ``measure`` tells of one task's set, the loss among it; the loss alone unless given.
        figure: the name in it of the figure that matters: ``"loss"`` or ``"accuracy"``.
    """

    on_policy = False

    def __init__(self, learner: Learner, loss: Loss, measures: Measures | None = None, figure: str = "loss") -> None:
        self.learner = learner
        self.figure = figure
        self._loss = loss
        self._measures = measures or (lambda outputs, targets: {"loss": loss(outputs, targets)})

    def count(self, tasks: Episodes) -> int:
        """Return how many episodes the batch holds."""
        return len(tasks.support.inputs)

    def collect(self, parameters: Tensor, tasks: Episodes, phase: Phase, generator: torch.Generator) -> Examples | Query:
        """Return the episodes' support or query sets."""
        if phase == "support":
            return tasks.support
        return Query(*tasks.query, tasks.support.inputs) if self.learner.batch_norm == "support" else tasks.query

    def outputs(self, parameters: Tensor, experience: Examples | Query) -> Tensor:
        """Return the outputs for one task's examples, shape (examples, ...), with parameters of shape (P + S,)."""
        support = experience.support if isinstance(experience, Query) else None
        return self.learner(parameters, experience.inputs, support)

    def loss(self, parameters: Tensor, experience: Examples | Query) -> Tensor:
        """Return the loss of one task's examples, shape ()."""
        return self._loss(self.outputs(parameters, experience), experience.targets)

    def measure(self, parameters: Tensor, experience: Examples | Query) -> dict[str, Tensor]:
        """Return the loss (and the accuracy, for classes) of each task, each of shape (tasks,)."""

        def one(parameters: Tensor, experience: Examples | Query) -> dict[str, Tensor]:
            return self._measures(self.outputs(parameters, experience), experience.targets)

        with torch.no_grad():
            return torch.vmap(one)(parameters, experience)
