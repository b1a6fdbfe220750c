"""Supervised episodes: the experience is a support or a query set, whatever the learner."""

from collections.abc import Callable

import torch
from torch import Tensor

from metarl import processes
from metarl.errors import require_whole
from metarl.problems.base import Apply, Phase, Problem
from metarl.tasks import Episodes, Examples

Loss = Callable[[Tensor, Tensor], Tensor]
"""Maps outputs and targets of one task, shapes (examples, ...), to the loss, shape ()."""
Measures = Callable[[Tensor, Tensor], dict[str, Tensor]]
"""Maps the same to what people want to know, by name, each of shape ()."""


class SupervisedProblem(Problem[Examples]):
    """Few-shot regression and classification.

    Args:
        loss: the loss of one task's set; its reduction (mean over examples, or other) is the caller's choice.
        measures: what ``measure`` tells of one task's set, the loss among it; the loss alone unless given.
        metric: the name in it of what matters: ``"loss"`` or ``"accuracy"``.
        support_batch: how many support examples each inner step sees, drawn with replacement; None for all, as where there
            are no more.
        classes: how many classes all training examples have; 0 where there are none.

    Raises:
        ConfigError: ``support_batch`` is not a whole number above zero.
    """

    on_policy = False
    unit = "tasks"

    def __init__(
        self,
        loss: Loss,
        measures: Measures | None = None,
        metric: str = "loss",
        support_batch: int | None = None,
        classes: int = 0,
    ) -> None:
        if support_batch is not None:
            require_whole(support_batch=support_batch)
        self.metric = metric
        self.support_batch = support_batch
        self.classes = classes
        self.criterion = loss
        self._measures = measures or (lambda outputs, targets: {"loss": loss(outputs, targets)})

    def count(self, tasks: Episodes) -> int:
        """Return how many episodes the batch holds."""
        return len(tasks.support.inputs)

    def collect(self, apply: Apply, tasks: Episodes, phase: Phase, generator: torch.Generator) -> Examples:
        """Return the episodes' support sets, or what an inner step sees of them, or their query sets."""
        if phase == "query":
            return tasks.query
        count, examples = tasks.support.inputs.shape[:2]
        size = self.support_batch
        if size is None or size >= examples:
            return tasks.support
        rows = processes.draw(
            lambda all_tasks: torch.randint(examples, (all_tasks, size), generator=generator, device=generator.device), count
        )
        task = torch.arange(count, device=generator.device)[:, None]
        return Examples(*(part[task, rows] for part in tasks.support))

    def support_inputs(self, tasks: Episodes) -> Tensor:
        """Return the whole support sets' inputs, shape (tasks, examples, ...)."""
        return tasks.support.inputs

    def unlabelled(self, tasks: Episodes) -> tuple[Tensor, ...]:
        """Return the episodes' unlabelled inputs, if they have some; see ``Problem``."""
        return tasks.unlabelled

    def loss(self, apply: Apply, experience: Examples) -> Tensor:
        """Return the loss of one task's examples, shape ()."""
        return self.criterion(apply(experience.inputs)[0], experience.targets)

    def measure(self, apply: Apply, experience: Examples) -> dict[str, Tensor]:
        """Return the loss (and the accuracy, for classes) of one task's examples, each of shape ()."""
        return self._measures(apply(experience.inputs)[0], experience.targets)

    def timesteps(self, experiences: list[Examples], count: int) -> Tensor:
        """Return the number of tasks, shape (), on the device of the experience; on the CPU if there is none (pretraining)."""
        return torch.tensor(float(count), device=experiences[0].inputs.device if experiences else None)
