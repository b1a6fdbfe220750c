"""Pretraining: one classifier of all training classes, whose body few-shot tasks then start from.

The baselines of Ravi and Larochelle 2017, section 5.1, and Chen et al. 2019, "A Closer Look at Few-shot Classification".
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch.nn import functional

from metarl import processes
from metarl.adaptation import InnerLoop, Meta
from metarl.errors import CheckpointError, ConfigError, NonFiniteError, require_positive
from metarl.outer.base import Outcome, OuterLoop, require_finite
from metarl.outer.gradient_descent import make_optimizer, require_optimizer, total_norm
from metarl.problems import SupervisedProblem
from metarl.tasks import Examples


@dataclass
class Pretraining(OuterLoop):
    """Improves the network's body by the cross-entropy of a classifier of all training classes, put in place of the head.

    The head itself has no gradient, so that it stays as it was initialised (an optimiser with weight decay shrinks it): every
    few-shot task starts from it. Batch-norm layers use the batch's
    statistics, which go into their running averages.

    Raises:
        ConfigError: an unknown optimiser or a value out of range.
    """

    learning_rate: float = 1e-3
    """The optimiser's rate."""
    optimizer: str = "Adam"
    """The name of a class in ``torch.optim``."""
    optimizer_kwargs: dict[str, Any] = field(default_factory=dict)
    """Its other arguments."""

    learns_from: ClassVar[Literal["tasks", "examples"]] = "examples"

    def __post_init__(self) -> None:
        require_positive(learning_rate=self.learning_rate)
        require_optimizer(self.optimizer)
        self.classes = 0
        """How many training classes there are; the agent counts them."""

    def check(self, inner: InnerLoop) -> None:
        """Raise ConfigError unless the network is a predictor with a linear head."""
        problem = inner.problem
        if not isinstance(problem, SupervisedProblem):
            raise ConfigError("outer=Pretraining() needs image classes; policies have none")
        names = problem.learner.head
        shapes = [problem.learner.shapes[name] for name in names]
        if len(shapes[0]) != 2 or any(shape[0] != shapes[0][0] for shape in shapes):
            raise ConfigError(
                f"policy: pretraining puts another classifier in place of the last layer, but {', '.join(names)} are of shape "
                f"{[tuple(shape) for shape in shapes]}: end with an nn.Linear or a CosineHead"
            )
        self._problem = problem

    def start(self, meta: Meta) -> None:
        """Make the classifier and the optimiser; after ``check``."""
        learner, like = self._problem.learner, meta["theta"]
        require_positive(classes=self.classes)
        self._classifier = {}
        for name in learner.head:  # as nn.Linear does
            shape = (self.classes, *learner.shapes[name][1:])
            bound = learner.shapes[learner.head[0]][1] ** -0.5
            drawn = bound * (2 * torch.rand(shape) - 1)
            self._classifier[name] = drawn.to(like).requires_grad_()
        self._moved = [meta[name] for name in ("theta", "shared") if name in meta]
        values = [*self._moved, *self._classifier.values()]
        self._optimizer = make_optimizer(self.optimizer, values, self.learning_rate, self.optimizer_kwargs)

    def step(self, inner: InnerLoop, meta: Meta, tasks: Examples, generator: torch.Generator, report: bool = True) -> Outcome:
        """Take one step on a batch of labelled images."""
        averages = {name: value.clone() for name, value in inner.problem.learner.running.items()}
        logits = inner.problem.learner.pretrain(meta["theta"], meta.get("shared"), self._classifier, tasks.inputs)
        loss = functional.cross_entropy(logits, tasks.targets)
        values = [*self._moved, *self._classifier.values()]
        gradients = [processes.mean(value) for value in torch.autograd.grad(loss, values, materialize_grads=True)]
        norm = total_norm({str(i): value for i, value in enumerate(gradients)})
        mean = processes.mean(loss.detach())
        try:
            require_finite("pretraining loss or its gradient", mean, norm)
        except NonFiniteError:
            for name, value in inner.problem.learner.running.items():
                value.copy_(averages[name])
            raise
        for value, gradient in zip(values, gradients, strict=True):
            value.grad = gradient
        self._optimizer.step()
        accuracy = processes.mean((logits.detach().argmax(-1) == tasks.targets).to(mean.dtype).mean())
        return Outcome(None, None, mean, {"pretraining_accuracy": accuracy, "gradient_norm": norm})

    def state_dict(self) -> dict[str, Any]:
        """Return the classifier and the optimiser's state."""
        classifier = {name: value.detach() for name, value in self._classifier.items()}
        return {"classifier": classifier, "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the classifier and the optimiser's state."""
        for name, value in self._classifier.items():
            theirs = state["classifier"][name]
            if theirs.shape != value.shape:
                raise CheckpointError(
                    f"the checkpoint's pretraining told {len(theirs)} classes apart, but the training split has {len(value)}: "
                    "hand in the same data"
                )
            with torch.no_grad():
                value.copy_(theirs)
        self._optimizer.load_state_dict(state["optimizer"])
