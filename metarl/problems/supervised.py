"""Supervised episodes: the experience is a support or a query set, whatever theta."""

from collections.abc import Callable

import torch
from torch import Tensor

from metarl.learner import Learner
from metarl.problems.base import Phase, Problem
from metarl.tasks import Episodes, Examples

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps outputs and targets of one task, shapes (examples, ...), to the loss, shape ()."""


class SupervisedProblem(Problem[Examples]):
    """Few-shot regression and classification.

    Args:
        learner: maps inputs of shape (examples, ...) to outputs (examples, ...).
        loss: the loss of one task's set; its reduction (mean over examples, or other) is the caller's choice.
    """

    figure = "loss"
    on_policy = False

    def __init__(self, learner: Learner, loss: Loss) -> None:
        self.learner = learner
        self._loss = loss

    def count(self, tasks: Episodes) -> int:
        """Return how many episodes the batch holds."""
        return len(tasks.support.inputs)

    def collect(self, parameters: Tensor, tasks: Episodes, phase: Phase, generator: torch.Generator) -> Examples:
        """Return the episodes' support or query sets."""
        return tasks.support if phase == "support" else tasks.query

    def loss(self, parameters: Tensor, experience: Examples) -> Tensor:
        """Return the loss of one task's examples, shape ()."""
        return self._loss(self.learner(parameters, experience.inputs), experience.targets)

    def measure(self, parameters: Tensor, experience: Examples) -> dict[str, Tensor]:
        """Return the loss of each task, shape (tasks,)."""
        with torch.no_grad():
            return {"loss": torch.vmap(self.loss)(parameters, experience)}
