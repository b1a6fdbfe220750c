"""Gradient descent through the adaptation, with any torch optimiser: MAML's outer loop.

On a policy problem, where the loss is REINFORCE's with a baseline, this is the policy-gradient outer loop.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value
from torch.utils._pytree import tree_map

from metarl import processes
from metarl.adaptation import Adaptation, InnerLoop, Meta
from metarl.errors import ConfigError, require_positive, unknown_name
from metarl.outer.base import Outcome, OuterLoop, collect, require_finite
from metarl.problems.base import Tasks

UNFIT = ("Optimizer", "LBFGS", "SparseAdam", "Muon")
"""Optimisers that need a closure, sparse gradients or matrices; theta is a vector."""
ELEMENTWISE = ("SGD", "Adam", "AdamW", "Adamax", "RAdam", "RMSprop", "Adagrad", "Adadelta", "Rprop")
"""Optimisers that treat every number by itself, so that agents side by side can share a step."""


@dataclass
class GradientDescent(OuterLoop):
    r"""Takes $\Theta \leftarrow \Theta - \beta \nabla_\Theta \frac1n \sum_i L_i(\theta_i')$, or what the optimiser makes of it.

    Raises:
        ConfigError: an unknown optimiser or a value out of range.
    """

    learning_rate: float = 1e-3
    """Beta, the outer learning rate."""
    optimizer: str = "Adam"
    """The name of a class in ``torch.optim``; any but LBFGS, SparseAdam and Muon."""
    optimizer_kwargs: dict[str, Any] = field(default_factory=dict)
    """Its other arguments."""
    clip_task: float | None = None
    """Clip every entry of each task's gradient by theta to plus or minus this, before the mean (TURTLE: 10)."""
    clip_value: float | None = None
    """Clip every entry of the meta-gradient to plus or minus this (MAML: 10 on miniImageNet)."""
    clip_norm: float | None = None
    """Scale the meta-gradient down to this norm (the LSTM meta-learner: 0.25)."""
    tasks_at_once: int | None = None
    """Differentiate so many tasks together, one part of the meta-batch after the other, to save memory; None for all."""
    compile: bool = False
    """Compile the meta-gradient with ``torch.compile``: several times faster on small predictors, after some seconds."""

    def __post_init__(self) -> None:
        require_positive(learning_rate=self.learning_rate)
        for name in ("clip_task", "clip_value", "clip_norm", "tasks_at_once"):
            if getattr(self, name) is not None:
                require_positive(**{name: getattr(self, name)})
        if self.tasks_at_once is not None and int(self.tasks_at_once) != self.tasks_at_once:
            raise ConfigError(f"tasks_at_once={self.tasks_at_once!r} must be a whole number")
        require_optimizer(self.optimizer)

    def start(self, meta: Meta) -> None:
        """Make the optimiser."""
        self._optimizer = make_optimizer(self.optimizer, list(meta.values()), self.learning_rate, self.optimizer_kwargs)
        self._gradient = compiled(self.gradient) if self.compile else self.gradient

    def step(self, inner: InnerLoop, meta: Meta, tasks: Tasks, generator: torch.Generator, report: bool = True) -> Outcome:
        """Adapt, differentiate the query loss through a replay of the adaptation, and let the optimiser step."""
        adaptation, experiences, query = gather(inner, meta, tasks, generator, report)
        alone = processes.count() == 1
        loss, norm, gradients = self._gradient(inner, meta, experiences, query, clip=alone)
        if not alone:
            loss, gradients = processes.mean(loss), {name: processes.mean(value) for name, value in gradients.items()}
            norm, gradients = self.clip(gradients)
        require_finite("query loss or meta-gradient", loss, norm)
        self.apply(meta, gradients)
        return Outcome(adaptation, query, loss, {"gradient_norm": norm})

    def gradient(
        self, inner: InnerLoop, meta: Meta, experiences: list[Any], query: Any, clip: bool = True
    ) -> tuple[Tensor, Tensor, Meta]:
        """Return the loss, and the gradient's norm and the gradient as ``clip`` does; a pure function, which ``vmap`` takes."""
        loss, gradients = meta_gradient(inner, meta, experiences, query, self.clip_task, self.tasks_at_once)
        return loss, *(self.clip(gradients) if clip else (loss, gradients))

    def clip(self, gradients: Meta) -> tuple[Tensor, Meta]:
        """Return the norm of a gradient, and the gradient clipped as the options say."""
        found = norm = total_norm(gradients)
        if self.clip_value is not None:
            gradients = {name: value.clamp(-self.clip_value, self.clip_value) for name, value in gradients.items()}
            norm = total_norm(gradients)
        if self.clip_norm is not None:
            factor = (self.clip_norm / (norm + 1e-6)).clamp(max=1)
            gradients = {name: factor * value for name, value in gradients.items()}
        return found, gradients

    def apply(self, meta: Meta, gradients: Meta) -> None:
        """Let the optimiser move the meta-parameters, in place."""
        for name, value in meta.items():
            value.grad = gradients[name]
        self._optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        state: dict[str, Any] = self._optimizer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the optimiser's state."""
        self._optimizer.load_state_dict(state)


def require_optimizer(name: str) -> None:
    """Raise ConfigError unless ``torch.optim`` has an optimiser of this name that fits vectors."""
    known = [n for n, c in vars(torch.optim).items() if isinstance(c, type) and issubclass(c, torch.optim.Optimizer)]
    known = [n for n in known if n not in UNFIT]
    if name not in known:
        raise unknown_name("optimizer", name, known)


def make_optimizer(name: str, values: list[Tensor], rate: float, kwargs: dict[str, Any]) -> torch.optim.Optimizer:
    """Return an optimiser of ``torch.optim`` by name, fused where it can be."""
    cls = getattr(torch.optim, name)
    own = {"fused", "foreach"} & set(kwargs)
    fused = {"fused": True} if "fused" in signature(cls).parameters and not own else {}
    try:
        optimizer: torch.optim.Optimizer = cls(values, lr=rate, **{**fused, **kwargs})
    except TypeError as error:
        raise ConfigError(f"optimizer_kwargs={kwargs!r} does not fit {name}: {error}") from error
    return optimizer


def gather(
    inner: InnerLoop, meta: Meta, tasks: Tasks, generator: torch.Generator, report: bool
) -> tuple[Adaptation | None, list[Any], Any]:
    """Return the adaptation if it was needed, and the support and query experience to differentiate a replay on."""
    if inner.problem.on_policy or report:
        adaptation, query = collect(inner, meta, tasks, generator)
        return adaptation, adaptation.experiences, query
    # the experience does not depend on theta, so the replay alone is the adaptation
    query = inner.problem.collect(meta["theta"], tasks, "query", generator)
    return None, [inner.problem.collect(meta["theta"], tasks, "support", generator) for _ in range(inner.steps)], query


def meta_gradient(
    inner: InnerLoop,
    meta: Meta,
    experiences: list[Any],
    query: Any,
    clip_task: float | None = None,
    tasks_at_once: int | None = None,
) -> tuple[Tensor, Meta]:
    """Return the mean query loss after a replay of the adaptation, and its gradient by every meta-parameter.

    Args:
        inner: the inner loop.
        meta: the meta-parameters.
        experiences: the support experience of each inner step.
        query: the query experience.
        clip_task: clip every entry of each task's own gradient by theta to plus or minus this, before the mean.
        tasks_at_once: how many tasks are differentiated together; all unless given.
    """
    count = len(query[0])
    if tasks_at_once is not None and tasks_at_once < count:
        loss, total = query[0].new_zeros((), dtype=meta["theta"].dtype), {n: torch.zeros_like(v) for n, v in meta.items()}
        for start in range(0, count, tasks_at_once):
            rows = slice(start, start + tasks_at_once)
            own_support, own_query = tree_map(lambda tensor: tensor[rows], (experiences, query))  # noqa: B023 - called at once
            share = len(own_query[0]) / count
            own, gradients = meta_gradient(inner, meta, own_support, own_query, clip_task)
            loss = loss + share * own
            total = {name: total[name] + share * value for name, value in gradients.items()}
        return loss, {name: value.detach() for name, value in total.items()}

    def outer_loss(meta: Meta, experiences: list[Any], query: Any) -> Tensor:
        return torch.vmap(inner.problem.loss)(inner.replay(meta, experiences, len(query[0])), query).mean()

    meta = {name: value.detach() for name, value in meta.items()}  # or autograd would record the differentiation too
    if clip_task is None:
        gradients, loss = grad_and_value(outer_loss)(meta, experiences, query)
        return loss.detach(), gradients

    def task_loss(meta: Meta, *task: Any) -> Tensor:
        return outer_loss(meta, *tree_map(lambda tensor: tensor.unsqueeze(0), task))

    gradients, losses = torch.vmap(grad_and_value(task_loss), in_dims=(None, 0, 0))(meta, experiences, query)
    own = gradients["theta"]
    gradients["theta"] = torch.where(own.isfinite(), own.clamp(-clip_task, clip_task), own)  # an infinite one must be seen
    return losses.detach().mean(), {name: value.mean(0) for name, value in gradients.items()}


def total_norm(gradients: Meta) -> Tensor:
    """Return the norm of all entries together, shape ()."""
    return torch.stack([value.square().sum() for value in gradients.values()]).sum().sqrt()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled; the function itself, with a word why, where there is no compiler."""
    fast = torch.compile(function, dynamic=False)
    works: list[Callable[..., Any]] = []

    def first_try(*args: Any, **kwargs: Any) -> Any:
        if works:
            return works[0](*args, **kwargs)
        try:
            result = fast(*args, **kwargs)
            works.append(fast)
        except Exception as error:  # whatever the compiler throws; a fault of the function's own shows again in eager
            warnings.warn(
                f"compile=True had no effect, the run goes on eagerly: torch.compile failed with {type(error).__name__} "
                "(on Linux it needs a C++ compiler such as g++)",
                stacklevel=2,
            )
            result = function(*args, **kwargs)
            works.append(function)
        return result

    return first_try
