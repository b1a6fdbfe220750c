"""Supervised episodes: the experience is a support or a query set, whatever theta."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from metarl import processes
from metarl.errors import ConfigError, require_positive
from metarl.learner import Learner
from metarl.problems.base import Phase, Problem
from metarl.tasks import Episodes, Examples

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps outputs and targets of one task, shapes (examples, ...), to the loss, shape ()."""
Measures = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""Maps the same to what people want to know, by name, each of shape ()."""


class Query(NamedTuple):
    """A query set with its support set at hand, from which batch-normalisation takes its statistics."""

    inputs: Tensor
    targets: Tensor
    support: Examples


class SupervisedProblem(Problem[Examples | Query]):
    """Few-shot regression and classification.

    Args:
        learner: maps inputs of shape (examples, ...) to outputs (examples, ...).
        loss: the loss of one task's set; its reduction (mean over examples, or other) is the caller's choice.
        measures: what ``measure`` tells of one task's set, the loss among it; the loss alone unless given.
        figure: the name in it of the figure that matters: ``"loss"`` or ``"accuracy"``.
        support_batch: how many support examples each inner step sees, drawn with replacement; None for all.
    """

    on_policy = False

    def __init__(
        self,
        learner: Learner,
        loss: Loss,
        measures: Measures | None = None,
        figure: str = "loss",
        support_batch: int | None = None,
    ) -> None:
        if support_batch is not None:
            require_positive(support_batch=support_batch)
            if int(support_batch) != support_batch:
                raise ConfigError(f"support_batch={support_batch!r} must be a whole number")
        self.learner = learner
        self.figure = figure
        self.support_batch = support_batch
        self._loss = loss
        self._measures = measures or (lambda outputs, targets: {"loss": loss(outputs, targets)})

    def count(self, tasks: Episodes) -> int:
        """Return how many episodes the batch holds."""
        return len(tasks.support.inputs)

    def collect(self, parameters: Tensor, tasks: Episodes, phase: Phase, generator: torch.Generator) -> Examples | Query:
        """Return the episodes' support sets, or what an inner step sees of them, or their query sets."""
        if phase == "query":
            return Query(*tasks.query, tasks.support) if self.needs_support else tasks.query
        if self.support_batch is None:
            return tasks.support
        count, examples = tasks.support.inputs.shape[:2]
        size = self.support_batch
        rows = processes.draw(
            lambda all_tasks: torch.randint(examples, (all_tasks, size), generator=generator, device=generator.device), count
        )
        own = torch.arange(count, device=generator.device)[:, None]
        return Examples(*(part[own, rows] for part in tasks.support))

    @property
    def needs_support(self) -> bool:
        """Whether the outputs for a query set depend on the support set otherwise than through the parameters."""
        return self.learner.batch_norm == "support"

    def outputs(self, parameters: Tensor, inputs: Tensor, support: Examples | None = None) -> Tensor:
        """Return the outputs for one task's inputs, shape (examples, ...), with parameters of shape (P + S,)."""
        return self.learner(parameters, inputs, None if support is None else support.inputs)

    def _outputs(self, parameters: Tensor, experience: Examples | Query) -> Tensor:
        return self.outputs(parameters, experience.inputs, experience.support if isinstance(experience, Query) else None)

    def loss(self, parameters: Tensor, experience: Examples | Query) -> Tensor:
        """Return the loss of one task's examples, shape ()."""
        return self._loss(self._outputs(parameters, experience), experience.targets)

    def measure(self, parameters: Tensor, experience: Examples | Query) -> dict[str, Tensor]:
        """Return the loss (and the accuracy, for classes) of each task, each of shape (tasks,)."""

        def one(parameters: Tensor, experience: Examples | Query) -> dict[str, Tensor]:
            return self._measures(self._outputs(parameters, experience), experience.targets)

        with torch.no_grad():
            return torch.vmap(one)(parameters, experience)


class NearestNeighbourProblem(SupervisedProblem):
    """Classification by the nearest support image: the cosine between the features that the last layer would be given.

    The outputs are, for every class, the largest cosine with a support image of it.
    """

    @property
    def needs_support(self) -> bool:
        """The support set is all that the classes are known by."""
        return True

    def outputs(self, parameters: Tensor, inputs: Tensor, support: Examples | None = None) -> Tensor:
        """Return the cosines for one task's inputs, shape (examples, ways)."""
        if support is None:
            raise ConfigError("steps: the nearest neighbour takes no inner steps; leave it out, or give 0")
        ways = self.learner.shapes[self.learner.head[0]][0]
        known = functional.normalize(self.learner.features(parameters, support.inputs), dim=1)
        cosines = functional.normalize(self.learner.features(parameters, inputs, support.inputs), dim=1) @ known.t()
        of_class = support.targets == torch.arange(ways, device=inputs.device)[:, None]  # (ways, support examples)
        return torch.where(of_class, cosines[:, None], -1.0).amax(2)
