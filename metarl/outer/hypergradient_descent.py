r"""Hypergradient descent: Alpha MAML's outer loop, which also moves the two learning rates.

Behl, Baydin and Torr 2019, "Alpha MAML: Adaptive Model-Agnostic Meta-Learning", eqs. 4 to 9 and Algorithm 2; after Baydin et
al. 2018, "Online Learning Rate Adaptation with Hypergradient Descent".
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from metarl import processes
from metarl.adapters.base import Adapter, Meta, learned
from metarl.errors import ConfigError, require_between, require_flag, require_positive
from metarl.outer.base import Outcome, OuterLoop, State, require_finite
from metarl.outer.meta_gradient import Batch, meta_gradient
from metarl.outer.optimisers import ELEMENTWISE, Optimiser
from metarl.outer.trpo import TRPO
from metarl.outer.vectors import total_norm

DIRECTIONS = tuple(name for name in ELEMENTWISE if name != "AdamW")
"""Optimisers whose step depends on the gradients alone."""


@dataclass(frozen=True)
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
    optimizer_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Its other arguments."""
    trpo: TRPO | Mapping[str, Any] | None = None
    """Take TRPO's natural-gradient direction and its line search instead of an optimiser's (policies only)."""

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            require_positive(learning_rate=self.learning_rate)
        for name in ("alpha_hyper", "beta_hyper"):
            if getattr(self, name) is not None:
                require_between(0, sys.float_info.max, **{name: getattr(self, name)})
        require_flag(clamp=self.clamp)
        if self.reduction not in ("sum", "mean"):
            raise ConfigError(f"reduction={self.reduction!r} must be 'sum' or 'mean'")
        _ = self._direction  # its name and arguments are looked at now, not at the first step
        if self.optimizer not in DIRECTIONS or self.optimizer_kwargs.get("weight_decay", 0) != 0:
            raise ConfigError(
                f"optimizer={self.optimizer!r}, optimizer_kwargs={dict(self.optimizer_kwargs)!r}: a direction can depend on "
                f"gradients only, not on parameters as weight decay does; use one of {', '.join(DIRECTIONS)} without it"
            )
        if isinstance(self.trpo, Mapping):  # as a checkpoint holds it
            object.__setattr__(self, "trpo", TRPO(**self.trpo))
        if self.trpo is not None and not isinstance(self.trpo, TRPO):
            raise ConfigError(f"trpo={self.trpo!r} must be a metarl.TRPO(...) or None")
        if self.trpo is not None and (self.optimizer != "SGD" or self.optimizer_kwargs):
            raise ConfigError(
                f"optimizer={self.optimizer!r}, optimizer_kwargs={dict(self.optimizer_kwargs)!r} have no part under TRPO, "
                "which makes its own direction: leave them out"
            )

    @cached_property
    def _direction(self) -> Optimiser:
        """Makes a direction of a gradient: a step of rate one from zero leads to minus the direction."""
        return Optimiser(self.optimizer, 1.0, self.optimizer_kwargs)

    @property
    def _trpo(self) -> TRPO:
        assert isinstance(self.trpo, TRPO)
        return self.trpo

    def check(self, adapter: Adapter) -> None:
        """Raise ConfigError if the adapter learns other things than rates, or the problem has no policy for TRPO."""
        if not adapter.rate_names:
            raise ConfigError(
                f"outer=HypergradientDescent() moves rates as alpha, and {adapter.name} has none, or learns more than rates: "
                "use MetaSGD, or GradientDescent with learned='global'"
            )
        if self.trpo is not None:
            self._trpo.check(adapter)

    def init(self, adapter: Adapter, meta: Meta, generator: torch.Generator) -> State:
        """Return the first beta, minus a last direction of zero, and an optimiser's state before its first step."""
        if self.trpo is not None:
            self._trpo.init(adapter, meta, generator)
        first = (0.001 if self.trpo is None else 1.0) if self.learning_rate is None else self.learning_rate
        last = {name: torch.zeros_like(value) for name, value in _moving(adapter, meta).items()}
        return {"beta": torch.tensor(first, dtype=torch.float64), "last": last, "optimizer": {}}

    def require_state(self, meta: Meta, ours: State, theirs: State) -> None:
        """Raise CheckpointError if the checkpoint's optimiser is of other meta-parameters."""
        self._direction.require_state(ours["last"], theirs["optimizer"])

    def improve(
        self, adapter: Adapter, meta: Meta, state: State, batch: Batch, generator: torch.Generator
    ) -> tuple[Outcome, State]:
        """Differentiate, and move beta, theta and alpha, in this order."""
        loss, gradients = meta_gradient(adapter, meta, batch.experiences, batch.query, batch.count)
        loss = processes.mean(loss)
        factor = batch.count * processes.count() if self.reduction == "sum" else 1
        gradients = {name: factor * processes.mean(value) for name, value in gradients.items()}
        norm = total_norm(gradients)
        require_finite("query loss or meta-gradient", loss, norm)
        last: Meta = state["last"]
        agreement = -torch.stack([(gradients[name] * value).sum() for name, value in last.items()]).sum()
        beta_hyper = (1e-7 if self.trpo is None else 0.01) if self.beta_hyper is None else self.beta_hyper
        beta = self._clamped(state["beta"] + beta_hyper * agreement.to(state["beta"]))
        moving, optimiser = _moving(adapter, meta), state["optimizer"]
        if self.trpo is not None:
            outcome = self._trpo.natural_step(adapter, meta, moving, batch, generator, float(beta))
            if outcome.metrics["step_accepted"]:  # else the last direction stays, or beta would never move again
                last = {name: (outcome.meta[name] - value) / beta for name, value in moving.items()}
        else:
            nothing = {name: torch.zeros_like(value) for name, value in moving.items()}
            last, optimiser = self._direction.step(nothing, gradients, optimiser)
            moved = {name: value + beta.to(value) * last[name] for name, value in moving.items()}
            outcome = Outcome({**meta, **moved}, loss, batch.adaptation, batch.query, {"gradient_norm": norm})
        rates = {
            name: self._clamped(value - self.alpha_hyper * gradients[name])
            for name, value in learned(meta).items()
            if name not in moving
        }
        outcome.meta = {**outcome.meta, **rates}
        alpha = torch.cat([value.flatten() for value in rates.values()])
        outcome.metrics |= {"alpha": alpha.mean(), "beta": beta.clone()}
        return outcome, {"beta": beta, "last": last, "optimizer": optimiser}

    def _clamped(self, rate: Tensor) -> Tensor:
        return rate.clamp(min=0) if self.clamp else rate


def _moving(adapter: Adapter, meta: Meta) -> Meta:
    """Return what the direction moves: theta and the shared parameters."""
    return {name: value.detach() for name, value in learned(meta).items() if name not in adapter.rate_names}
