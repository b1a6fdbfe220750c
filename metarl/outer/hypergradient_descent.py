r"""Hypergradient descent: Alpha MAML's outer loop, which also moves the two learning rates.

Behl, Baydin and Torr 2019, "Alpha MAML: Adaptive Model-Agnostic Meta-Learning", eqs. 4 to 9 and Algorithm 2; after Baydin et
al. 2018, "Online Learning Rate Adaptation with Hypergradient Descent".
"""

import sys
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import torch
from torch import Tensor

from metarl import processes
from metarl.adaptation import InnerLoop, Meta
from metarl.errors import ConfigError, require_between, require_positive
from metarl.outer.base import Outcome, OuterLoop, collect, require_finite
from metarl.outer.gradient_descent import ELEMENTWISE, gather, make_optimizer, meta_gradient, require_optimizer, total_norm
from metarl.outer.trpo import TRPO
from metarl.problems.base import Tasks

DIRECTIONS = tuple(name for name in ELEMENTWISE if name != "AdamW")
"""Optimisers whose step depends on the gradients alone."""


@dataclass
class HypergradientDescent(OuterLoop):
    r"""Takes $\Theta \leftarrow \Theta - \beta\,d$, and moves the rule's rates $\alpha$ and the outer rate $\beta$ too.

    With $G_i$ the sum over tasks of the query losses' gradients by theta (and shared parameters) at iteration i, and $d_i$ the
    direction made of it (for SGD itself):

    - before the step, $\beta_i = \beta_{i-1} + \hat\beta \langle G_i, d_{i-1} \rangle$: minus the derivative by $\beta$ of this
      iteration's loss at the point that the last step led to;
    - after it, $\alpha_{i+1} = \alpha_i - \hat\alpha\, \partial \sum_t L_t(\theta'_t) / \partial \alpha$. For one inner step
      this is the paper's $\alpha_i + \hat\alpha \sum_t \langle \nabla L_t(\theta'_t), \nabla L_t(\theta) \rangle$; for more it
      is the derivative through all of them. Whatever rates the rule has (one, or one for each layer or step) are moved.

    With both hyper-rates zero it is MAML with the same optimiser. A step that TRPO's line search refuses leaves the direction
    as it was.

    Raises:
        ConfigError: a rate out of range, an optimiser that does not fit, or one beside TRPO.
    """

    learning_rate: float | None = None
    """Beta at the start: 0.001 unless given; under TRPO 1, in units of the step that spends the KL limit."""
    alpha_hyper: float = 1e-5
    """The rate at which alpha moves; 0 to keep it."""
    beta_hyper: float | None = None
    """The rate at which beta moves: 1e-7 unless given, under TRPO 0.01; 0 to keep it."""
    reduction: Literal["sum", "mean"] = "sum"
    """Gradients are sums over the meta-batch, as in Algorithm 2, or means."""
    clamp: bool = False
    """Keep alpha and beta from falling below zero; the paper does not."""
    optimizer: str = "SGD"
    """What makes a direction of the gradient: the name of a class of ``torch.optim``; with Adam, beta is its rate."""
    optimizer_kwargs: dict[str, Any] = field(default_factory=dict)
    """Its other arguments."""
    trpo: TRPO | None = None
    """Take TRPO's natural-gradient direction and its line search instead of an optimiser's (policies only)."""

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            require_positive(learning_rate=self.learning_rate)
        for name in ("alpha_hyper", "beta_hyper"):
            if getattr(self, name) is not None:
                require_between(0, sys.float_info.max, **{name: getattr(self, name)})
        if self.reduction not in ("sum", "mean"):
            raise ConfigError(f"reduction={self.reduction!r} must be 'sum' or 'mean'")
        require_optimizer(self.optimizer)
        if self.optimizer not in DIRECTIONS or self.optimizer_kwargs.get("weight_decay", 0) != 0:
            raise ConfigError(
                f"optimizer={self.optimizer!r}, optimizer_kwargs={self.optimizer_kwargs!r}: a direction can depend on "
                f"gradients only, not on parameters as weight decay does; use one of {', '.join(DIRECTIONS)} without it"
            )
        if self.trpo is not None and not isinstance(self.trpo, TRPO):
            raise ConfigError(f"trpo={self.trpo!r} must be a metarl.TRPO(...) or None")
        if self.trpo is not None and (self.optimizer != "SGD" or self.optimizer_kwargs):
            raise ConfigError(
                f"optimizer={self.optimizer!r}, optimizer_kwargs={self.optimizer_kwargs!r} have no part under TRPO, which "
                "makes its own direction: leave them out"
            )

    @classmethod
    def of(cls, options: dict[str, Any]) -> Self:
        """Return the loop with these options, in plain containers as a checkpoint holds them."""
        trpo = options["trpo"]
        return cls(**{**options, "trpo": None if trpo is None else TRPO.of(trpo)})

    def check(self, inner: InnerLoop) -> None:
        """Raise ConfigError if the rule's own parameters are not rates, or the problem has no policy for TRPO."""
        own = {name for name, _ in inner.rule.named_parameters()}
        if not own or own != set(inner.rule.rate_parameters):
            raise ConfigError(
                f"rule={type(inner.rule).__name__} has {'no' if not own else 'other learned parameters than'} rates for alpha: "
                "use MetaSGD, or GradientDescent with learned='global'"
            )
        if self.trpo is not None:
            self.trpo.check(inner)

    def start(self, meta: Meta) -> None:
        """Make the optimiser, which turns gradients into directions at rate one, and begin at the first beta."""
        beta, beta_hyper = (0.001, 1e-7) if self.trpo is None else (1.0, 0.01)
        self.beta = torch.tensor(beta if self.learning_rate is None else self.learning_rate, dtype=torch.float64)
        self._beta_hyper = beta_hyper if self.beta_hyper is None else self.beta_hyper
        # after a step each holds minus the direction
        self._last = {name: torch.zeros_like(value) for name, value in _moving(meta).items()}
        self._optimizer = make_optimizer(self.optimizer, list(self._last.values()), 1.0, self.optimizer_kwargs)

    def step(self, inner: InnerLoop, meta: Meta, tasks: Tasks, generator: torch.Generator, report: bool = True) -> Outcome:
        """Adapt, differentiate, and move beta, theta and alpha, in this order."""
        if self.trpo is not None:
            adaptation, query = collect(inner, meta, tasks, generator)
            experiences = adaptation.experiences
        else:
            found, experiences, query = gather(inner, meta, tasks, generator, report)
        loss, gradients = meta_gradient(inner, meta, experiences, query)
        loss = processes.mean(loss)
        factor = inner.problem.count(tasks) * processes.count() if self.reduction == "sum" else 1
        gradients = {name: factor * processes.mean(value) for name, value in gradients.items()}
        norm = total_norm(gradients)
        require_finite("query loss or meta-gradient", loss, norm)
        agreement = -torch.stack([(gradients[name] * last).sum() for name, last in self._last.items()]).sum()
        beta = self._clamped(self.beta + self._beta_hyper * agreement.to(self.beta))
        if self.trpo is not None:
            before = {name: value.detach().clone() for name, value in _moving(meta).items()}
            outcome = self.trpo.improve(inner, meta, _moving(meta), adaptation, query, generator, float(beta))
            if outcome.metrics["step_accepted"]:  # else the last direction stays, or beta would never move again
                for name, last in self._last.items():
                    last.copy_((meta[name].detach() - before[name]) / beta)
        else:
            outcome = Outcome(found, query, loss, {"gradient_norm": norm})
            for name, last in self._last.items():
                last.zero_()
                last.grad = gradients[name]
            self._optimizer.step()
            with torch.no_grad():
                for name, last in self._last.items():
                    meta[name] += beta.to(last) * last
        self.beta = beta
        rates = [name for name in meta if name not in self._last]
        with torch.no_grad():
            for name in rates:
                meta[name].copy_(self._clamped(meta[name] - self.alpha_hyper * gradients[name]))
        alpha = torch.cat([meta[name].detach().flatten() for name in rates])
        outcome.metrics |= {"alpha": alpha.mean(), "beta": self.beta.clone()}
        return outcome

    def _clamped(self, rate: Tensor) -> Tensor:
        return rate.clamp(min=0) if self.clamp else rate

    def state_dict(self) -> dict[str, Any]:
        """Return beta, the last direction, and the optimiser's state."""
        return {"beta": self.beta, "last": self._last, "optimizer": self._optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up beta, the last direction, and the optimiser's state."""
        self.beta = state["beta"].clone()
        for name, last in self._last.items():
            last.copy_(state["last"][name])
        self._optimizer.load_state_dict(state["optimizer"])


def _moving(meta: Meta) -> Meta:
    """Return what the direction moves: theta and the shared parameters."""
    return {name: value for name, value in meta.items() if not name.startswith("rule.")}
