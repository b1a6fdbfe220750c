"""Pretraining: one classifier of all training classes, whose body few-shot tasks then start from.

The baselines of Ravi and Larochelle 2017, section 5.1, and Chen et al. 2019, "A Closer Look at Few-shot Classification".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch.func import grad_and_value
from torch.nn import functional

from metarl.adapters.base import Adapter, Meta, learned
from metarl.errors import CheckpointError, ConfigError
from metarl.outer.base import Outcome, OuterLoop, State, TaskSource, require_finite
from metarl.outer.meta_gradient import Batch
from metarl.outer.optimisers import Optimiser
from metarl.outer.vectors import total_norm
from metarl.problems.base import Tasks
from metarl.tasks import Examples

CLASSIFIER = "classifier."


@dataclass(frozen=True)
class Pretraining(OuterLoop):
    """Improves the network by the cross-entropy of a classifier of all training classes, on the network's features.

    Where the network has a last layer of its own, the classifier takes its place: that layer has no gradient, and stays as it
    was initialised (an optimiser with weight decay shrinks it); every few-shot task starts from it. Batch-norm layers use the
    batch's statistics, which go into their running averages.

    Raises:
        ConfigError: an unknown optimiser or a value out of range.
    """

    learning_rate: float = 1e-3
    """The optimiser's rate."""
    optimizer: str = "Adam"
    """The name of a class in ``torch.optim``."""
    optimizer_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Its other arguments."""

    def __post_init__(self) -> None:
        _ = self._optimiser

    @cached_property
    def _optimiser(self) -> Optimiser:
        return Optimiser(self.optimizer, self.learning_rate, self.optimizer_kwargs)

    def check(self, adapter: Adapter) -> None:
        """Raise ConfigError unless there are classes, and features that tell them apart."""
        classes = adapter.problem.classes
        if not classes:
            raise ConfigError("outer=Pretraining() needs image classes to tell apart; here there are none")
        adapter.classifier_shapes(classes)

    def draw(self, source: TaskSource, n: int, generator: torch.Generator, first: int) -> tuple[Tasks, Tasks]:
        """Return a batch of labelled examples of all training classes, the same in every process.

        Its statistics cannot be shared out, so each process takes the whole step.
        """
        batch = source.examples(n, generator)
        return batch, batch

    def init(self, adapter: Adapter, meta: Meta, generator: torch.Generator) -> State:
        """Return a classifier, drawn as nn.Linear's weights are, and an optimiser's state before its first step."""
        shapes = adapter.classifier_shapes(adapter.problem.classes)
        bound = next(iter(shapes.values()))[1] ** -0.5
        drawn = {name: bound * (2 * torch.rand(shape, generator=generator) - 1) for name, shape in shapes.items()}
        return {"classifier": {name: value.to(meta["theta"]) for name, value in drawn.items()}, "optimizer": {}}

    def require_state(self, meta: Meta, ours: State, theirs: State) -> None:
        """Raise CheckpointError if the checkpoint's classifier is of other classes, or its optimiser of other parameters."""
        counts = [len(next(iter(state["classifier"].values()))) for state in (theirs, ours)]
        if counts[0] != counts[1]:
            raise CheckpointError(
                f"the checkpoint's pretraining told {counts[0]} classes apart, but the training split has {counts[1]}: "
                "hand in the same data"
            )
        classifier = {CLASSIFIER + name: value for name, value in theirs["classifier"].items()}
        self._optimiser.require_state(meta | classifier, theirs["optimizer"])

    def gather(self, adapter: Adapter, meta: Meta, tasks: Tasks, generator: torch.Generator, report: bool = True) -> Batch:
        """Return the labelled images as they are: nothing is adapted."""
        return Batch([], tasks, len(tasks.inputs))

    def improve(
        self, adapter: Adapter, meta: Meta, state: State, batch: Batch, generator: torch.Generator
    ) -> tuple[Outcome, State]:
        """Take one step on a batch of labelled images."""
        examples: Examples = batch.query
        values = learned(meta) | {CLASSIFIER + name: value for name, value in state["classifier"].items()}
        network = [name for name in values if name in ("theta", "shared") or name.startswith(CLASSIFIER)]

        def classification(values: Meta) -> tuple[torch.Tensor, tuple[torch.Tensor, Meta]]:
            classifier = {name[len(CLASSIFIER) :]: value for name, value in values.items() if name.startswith(CLASSIFIER)}
            logits, tracked = adapter.classify({**meta, **values}, classifier, examples.inputs)
            return functional.cross_entropy(logits, examples.targets), (logits, tracked)

        differentiate = grad_and_value(classification, has_aux=True)
        gradients, (loss, (logits, tracked)) = differentiate({name: values[name].detach() for name in network})
        loss, norm = loss.detach(), total_norm(gradients)
        require_finite("pretraining loss or its gradient", loss, norm)
        moved, optimiser = self._optimiser.step({name: values[name] for name in network}, gradients, state["optimizer"])
        classifier = {name[len(CLASSIFIER) :]: value for name, value in moved.items() if name.startswith(CLASSIFIER)}
        kept = {name: value.detach() for name, value in tracked.items() if name not in learned(tracked)}
        changed = {name: value for name, value in moved.items() if not name.startswith(CLASSIFIER)}
        accuracy = (logits.detach().argmax(-1) == examples.targets).to(loss.dtype).mean()
        outcome = Outcome({**meta, **changed, **kept}, loss, metrics={"pretraining_accuracy": accuracy, "gradient_norm": norm})
        return outcome, {"classifier": classifier, "optimizer": optimiser}
