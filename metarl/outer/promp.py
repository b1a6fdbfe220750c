r"""ProMP: PPO through the adaptation, whose inner steps have a curvature of low variance and may not go far unseen.

Rothfuss, Lee, Clavera, Asfour and Abbeel 2019, "ProMP: Proximal Meta-Policy Search", Algorithm 1, with the settings of
the authors' scripts for locomotion.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from metarl.adapters.base import Adapter, Meta
from metarl.errors import ConfigError, require_positive
from metarl.outer.base import State
from metarl.outer.clipped_objective import Terms
from metarl.outer.ppo import PPO, adapted_coefficient
from metarl.problems.policy import PolicyProblem


@dataclass(frozen=True)
class ProMP(PPO):
    r"""Adds $\frac1T \sum_t \eta_t \overline{KL}(\pi_{old, t} \| \pi_t)$ to PPO's loss, over the policies of the inner steps t.

    $\pi_t$ is the policy of inner step t's support trajectories, at first the meta-learned one: the further it goes from the
    one that collected them, the less they say of the step that it would take. As in the authors' code the penalties' mean over
    the steps is added, not their sum, and the coefficients are adapted once after all epochs.

    The inner steps descend the likelihood ratio: ``Rollouts(inner_loss="likelihood-ratio")``.

    Raises:
        ConfigError: an option out of range, or one that has no effect beside the others.
    """

    learning_rate: float = 1e-3
    """Of the optimiser, in every epoch and mini-batch."""
    n_epochs: int = 5
    """How often each step goes through the meta-batch."""
    clip_range: float = 0.3
    """Epsilon: beyond it a ratio that has gone where its advantage points learns nothing more."""
    max_grad_norm: float | None = None
    """Scale the meta-gradient, with the critic's, down to this norm."""
    inner_kl_coef: float = 5e-4
    """Eta: the weight of the KL divergence of every inner step's policy, at first."""
    inner_target_kl: float | None = None
    """What eta is adapted to, for each inner step by itself: doubled where the KL divergence is above 1.5 times this after a
    step, halved where it is below a 1.5th; None to keep eta, as the authors' scripts do (their class adapts it to 0.01)."""

    watches_steps: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(**({} if self.inner_target_kl is None else {"inner_target_kl": self.inner_target_kl}))
        self._require_weights("inner_kl_coef")

    def check(self, adapter: Adapter) -> None:
        """Raise ConfigError if there is no policy, no inner step, or one of another curvature."""
        super().check(adapter)
        assert isinstance(adapter.problem, PolicyProblem), "refused above"
        if adapter.steps == 0:
            raise ConfigError("outer=ProMP() watches the policies of the inner steps, and there are none: use outer='ppo'")
        inner_loss = adapter.problem.rollouts.inner_loss
        if inner_loss != "likelihood-ratio":
            raise ConfigError(
                f"outer=ProMP() with inner_loss={inner_loss!r} is not ProMP: use "
                "rollouts=metarl.Rollouts(inner_loss='likelihood-ratio'), or outer='ppo'"
            )

    def init(self, adapter: Adapter, meta: Meta, generator: torch.Generator) -> State:
        """Return PPO's state, and the coefficients of the inner steps."""
        state: State = super().init(adapter, meta, generator)
        return {**state, "inner_kl_coefs": meta["theta"].new_full((adapter.steps,), self.inner_kl_coef)}

    def penalty(self, state: State, terms: Terms) -> Tensor:
        """Return PPO's penalty, and that of the inner steps' policies, shape ()."""
        inner: Tensor = (state["inner_kl_coefs"] * terms.inner_kls).mean()
        return super().penalty(state, terms) + inner

    def adjusted(self, state: State, after: Terms) -> State:
        """Return the state with the penalties' weights for the next step."""
        state = super().adjusted(state, after)
        if self.inner_target_kl is None:
            return state
        coefficients = adapted_coefficient(state["inner_kl_coefs"], after.inner_kls, self.inner_target_kl, self.inner_kl_coef)
        return {**state, "inner_kl_coefs": coefficients}

    def measured(self, state: State, before: Tensor, after: Terms) -> dict[str, float | Tensor]:
        """Return what a log should know: PPO's metrics, and the inner steps' KL divergences and their weights."""
        inner: dict[str, float | Tensor] = {}
        for step, (kl, coefficient) in enumerate(zip(after.inner_kls, state["inner_kl_coefs"], strict=True), start=1):
            inner[f"inner_kl_of_step_{step}"] = kl
            inner[f"inner_kl_coef_of_step_{step}"] = coefficient.clone()
        return super().measured(state, before, after) | inner
