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

from metarl import processes
from metarl.adaptation import InnerLoop, Meta
from metarl.errors import ConfigError, require_positive, unknown_name
from metarl.outer.base import Outcome, OuterLoop, collect, require_finite
from metarl.problems.base import Tasks

UNFIT = ("Optimizer", "LBFGS", "SparseAdam", "Muon")
"""Optimisers that need a closure, sparse gradients or matrices; theta is a vector."""


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
    clip_value: float | None = None
    """Clip every entry of the meta-gradient to plus or minus this (MAML: 10 on miniImageNet)."""
    clip_norm: float | None = None
    """Scale the meta-gradient down to this norm (the LSTM meta-learner: 0.25)."""
    compile: bool = False
    """Compile the meta-gradient with ``torch.compile``: several times faster on small predictors, after some seconds."""

    def __post_init__(self) -> None:
        require_positive(learning_rate=self.learning_rate)
        for name in ("clip_value", "clip_norm"):
            if getattr(self, name) is not None:
                require_positive(**{name: getattr(self, name)})
        known = [n for n, c in vars(torch.optim).items() if isinstance(c, type) and issubclass(c, torch.optim.Optimizer)]
        known = [name for name in known if name not in UNFIT]
        if self.optimizer not in known:
            raise unknown_name("optimizer", self.optimizer, known)

    def start(self, meta: Meta) -> None:
        """Make the optimiser."""
        cls = getattr(torch.optim, self.optimizer)
        own = {"fused", "foreach"} & set(self.optimizer_kwargs)
        fused = {"fused": True} if "fused" in signature(cls).parameters and not own else {}
        try:
            self._optimizer = cls(list(meta.values()), lr=self.learning_rate, **{**fused, **self.optimizer_kwargs})
        except TypeError as error:
            raise ConfigError(f"optimizer_kwargs={self.optimizer_kwargs!r} does not fit {self.optimizer}: {error}") from error
        self._gradient = compiled(meta_gradient) if self.compile else meta_gradient

    def step(self, inner: InnerLoop, meta: Meta, tasks: Tasks, generator: torch.Generator, report: bool = True) -> Outcome:
        """Adapt, differentiate the query loss through a replay of the adaptation, and let the optimiser step."""
        if inner.problem.on_policy or report:
            adaptation, query = collect(inner, meta, tasks, generator)
            experiences = adaptation.experiences
        else:  # the experience does not depend on theta, so the replay alone is the adaptation
            adaptation, query = None, inner.problem.collect(meta["theta"], tasks, "query", generator)
            experiences = [inner.problem.collect(meta["theta"], tasks, "support", generator)] * inner.steps
        loss, norm, gradients = self._gradient(inner, meta, experiences, query)
        if processes.count() > 1:
            loss, gradients = processes.mean(loss), {name: processes.mean(value) for name, value in gradients.items()}
            norm = torch.nn.utils.get_total_norm(list(gradients.values()))
        require_finite("query loss or meta-gradient", loss, norm)
        for name, value in meta.items():
            value.grad = gradients[name]
        if self.clip_value is not None:
            torch.nn.utils.clip_grad_value_(meta.values(), self.clip_value)
            norm = torch.nn.utils.get_total_norm([value.grad for value in meta.values() if value.grad is not None])
        if self.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(meta.values(), self.clip_norm, norm)
        self._optimizer.step()
        return Outcome(adaptation, query, loss, {"gradient_norm": norm})

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        state: dict[str, Any] = self._optimizer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the optimiser's state."""
        self._optimizer.load_state_dict(state)


def meta_gradient(inner: InnerLoop, meta: Meta, experiences: list[Any], query: Any) -> tuple[Tensor, Tensor, Meta]:
    """Return the mean query loss after a replay of the adaptation, its gradient's norm, and its gradient by every parameter."""

    def outer_loss(meta: Meta) -> Tensor:
        return torch.vmap(inner.problem.loss)(inner.replay(meta, experiences), query).mean()

    gradients, loss = grad_and_value(outer_loss)(meta)
    return loss.detach(), torch.nn.utils.get_total_norm(list(gradients.values())), gradients


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled; the function itself, with a word why, where there is no compiler."""
    fast = torch.compile(function, dynamic=False)
    works: list[Callable[..., Any]] = []

    def first_try(*args: Any) -> Any:
        if works:
            return works[0](*args)
        try:
            result = fast(*args)
            works.append(fast)
        except Exception as error:  # whatever the compiler throws; a fault of the function's own shows again in eager
            warnings.warn(
                f"compile=True had no effect, the run goes on eagerly: torch.compile failed with {type(error).__name__} "
                "(on Linux it needs a C++ compiler such as g++)",
                stacklevel=2,
            )
            result = function(*args)
            works.append(function)
        return result

    return first_try
