r"""PPO through the adaptation: several epochs of the clipped surrogate on the same experience, with all that is learned.

Schulman et al. 2017, "Proximal Policy Optimization Algorithms". The policies are the adapted ones: each gradient replays the
adaptation under the meta-parameters as they are by then, on the support trajectories that were collected before the first.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import grad_and_value

from metarl import processes
from metarl.adapters.base import Adapter, Meta, learned
from metarl.errors import ConfigError, require_between, require_positive, require_whole
from metarl.outer.base import Outcome, OuterLoop, State, require_finite
from metarl.outer.clipped_objective import CRITIC, ClippedObjective, Clips, Learned, Terms
from metarl.outer.critic import initial_numbers, values_of
from metarl.outer.meta_gradient import Batch
from metarl.outer.optimisers import Optimiser
from metarl.outer.sampling_correction import credits
from metarl.outer.vectors import limited, total_norm
from metarl.problems.policy import PolicyProblem

TOLERANCE = 1.5
"""By what factor a KL divergence may miss its target before something is done about it."""
MOST_DOUBLINGS = 10
"""Of a penalty's weight, and halvings."""


@dataclass(frozen=True)
class PPO(OuterLoop):
    r"""Maximises $\overline{\min(r \hat A, \mathrm{clip}(r, 1 - \epsilon, 1 + \epsilon) \hat A)}$ after adaptation.

    r is the ratio of an action's probability under the adapted policy to that under the one that sampled it; the mean is over
    a task's time-steps, then over tasks. The options have the names that Stable-Baselines3 gives them, where it has them.

    Raises:
        ConfigError: an option out of range, or one that has no effect beside the others.
    """

    learning_rate: float = 3e-4
    """Of the optimiser, in every epoch and mini-batch."""
    n_epochs: int = 10
    """How often each step goes through the meta-batch."""
    minibatches: int = 1
    """Into how many parts each epoch divides the tasks of the meta-batch, anew and at random."""
    clip_range: float = 0.2
    """Epsilon: beyond it a ratio that has gone where its advantage points learns nothing more."""
    ent_coef: float = 0.0
    """The weight of the adapted policies' entropy, which is rewarded."""
    target_kl: float | None = None
    """The mean KL divergence between the adapted policies before and after the step that is aimed at: with kl_coef=0 the
    epochs stop once they have gone beyond 1.5 times this, as in Stable-Baselines3; otherwise kl_coef is doubled after a step
    that did, and halved after one that stayed below a 1.5th (section 4 of the paper)."""
    kl_coef: float = 0.0
    """The weight of that KL divergence, a penalty, in the first step."""
    critic: Sequence[int] | None = None
    """The widths of the hidden layers of a critic, whose values take the baseline's place after adaptation; None for none.
    One critic sees all tasks, and not which it is; the inner steps keep the baseline of ``Rollouts``."""
    vf_coef: float = 0.5
    """The weight of the critic's squared error."""
    clip_range_vf: float | None = None
    """How far the critic's values may move in a step, in the unit of returns; None for any distance."""
    max_grad_norm: float | None = 0.5
    """Scale the meta-gradient, with the critic's, down to this norm."""
    sampling_correction: float = 0.0
    """The weight of E-MAML's term, which pays the support trajectories' log-probability with the return after adapting to
    them; 1 makes the meta-gradient exact (see ``metarl.problems.estimators``), at a large variance."""
    optimizer: str = "Adam"
    """The name of a class in ``torch.optim``; any but LBFGS, SparseAdam and Muon."""
    optimizer_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Its other arguments."""

    watches_steps: ClassVar[bool] = False
    """Whether the KL divergence of the policies that collected the support experience is worked out."""

    def __post_init__(self) -> None:
        require_whole(n_epochs=self.n_epochs, minibatches=self.minibatches)
        for name in ("clip_range", "target_kl", "clip_range_vf", "max_grad_norm"):
            if getattr(self, name) is not None:
                require_positive(**{name: getattr(self, name)})
        self._require_weights("ent_coef", "kl_coef", "vf_coef", "sampling_correction")
        if self.critic is not None:
            object.__setattr__(self, "critic", tuple(self.critic))
            for i, width in enumerate(self.critic):
                require_whole(**{f"critic[{i}]": width})
        else:
            for name in ("vf_coef", "clip_range_vf"):
                if getattr(self, name) != getattr(type(self), name):
                    raise ConfigError(f"{name}={getattr(self, name)!r} has no effect without a critic: give critic=(64, 64)")
        _ = self._optimiser  # its name and arguments are looked at now, not at the first step

    def _require_weights(self, *names: str) -> None:
        """Raise ConfigError if an option of these names is negative."""
        for name in names:
            require_between(0, sys.float_info.max, **{name: getattr(self, name)})

    @cached_property
    def _optimiser(self) -> Optimiser:
        return Optimiser(self.optimizer, self.learning_rate, self.optimizer_kwargs)

    def check(self, adapter: Adapter) -> None:
        """Raise ConfigError if there is no policy, or no support experience to pay."""
        name = type(self).__name__
        if not isinstance(adapter.problem, PolicyProblem):
            raise ConfigError(f"outer={name}() needs a policy; predictors have no ratios to clip, use 'gradient_descent'")
        if self.sampling_correction and adapter.steps == 0:
            raise ConfigError(
                f"sampling_correction={self.sampling_correction!r} pays for support trajectories, and inner_steps=0 collects "
                "none: leave it out"
            )

    def init(self, adapter: Adapter, meta: Meta, generator: torch.Generator) -> State:
        """Return an optimiser's state before its first step, no critic as yet, and the first weight of the KL divergence."""
        return {"optimizer": {}, "critic": {}, "kl_coef": meta["theta"].new_tensor(self.kl_coef)}

    def require_state(self, meta: Meta, ours: State, theirs: State) -> None:
        """Raise CheckpointError if the checkpoint's optimiser is of other meta-parameters, or of another critic."""
        self._optimiser.require_state(_moving(meta, theirs), theirs["optimizer"])

    def improve(
        self, adapter: Adapter, meta: Meta, state: State, batch: Batch, generator: torch.Generator
    ) -> tuple[Outcome, State]:
        """Take all epochs' steps on the experience."""
        if self.critic is not None and not state["critic"]:  # its inputs' size is known from now on
            state = {**state, "critic": initial_numbers(batch.query, self.critic, generator)}
        objective = self._objective(adapter, meta, state, batch)
        query = objective.batch.query
        before = processes.mean(-(query.weights * query.advantages).sum(1).mean())
        values, optimiser, steps = self._epochs(objective, _moving(meta, state), state, generator)
        with torch.no_grad():
            after = _everybodys(objective.terms(values))
        require_finite(f"{type(self).__name__} step", *after)
        numbers = {name.removeprefix(CRITIC): value for name, value in values.items() if name.startswith(CRITIC)}
        moved = {name: value for name, value in values.items() if not name.startswith(CRITIC)}
        metrics = {**steps, **self.measured(state, before, after)}
        outcome = Outcome({**meta, **moved}, before, batch.adaptation, query, metrics)
        return outcome, {**self.adjusted(state, after), "optimizer": optimiser, "critic": numbers}

    def loss(self, state: State, terms: Terms) -> Tensor:
        """Return what is minimised, shape ()."""
        return (
            terms.policy
            - self.ent_coef * terms.entropy
            + self.vf_coef * terms.value
            + self.sampling_correction * terms.correction
            + self.penalty(state, terms)
        )

    # -- what a relative says otherwise

    def penalty(self, state: State, terms: Terms) -> Tensor:
        """Return what is added to the loss for the policies' distance from what they were, shape ()."""
        penalty: Tensor = state["kl_coef"] * terms.kl
        return penalty

    def adjusted(self, state: State, after: Terms) -> State:
        """Return the state with the penalties' weights for the next step, by what came of this one."""
        if self.target_kl is None or not self.kl_coef:
            return state
        return {**state, "kl_coef": adapted_coefficient(state["kl_coef"], after.kl, self.target_kl, self.kl_coef)}

    def measured(self, state: State, before: Tensor, after: Terms) -> dict[str, float | Tensor]:
        """Return what a log should know of the step."""
        metrics: dict[str, float | Tensor] = {
            "kl": after.kl,
            "clip_fraction": after.clipped,
            "surrogate_improvement": before - after.policy,
        }
        if self.critic is not None:
            metrics["value_loss"] = after.value
        if self.kl_coef:
            metrics["kl_coef"] = state["kl_coef"].clone()
        return metrics

    # -- the epochs

    def _objective(self, adapter: Adapter, meta: Meta, state: State, batch: Batch) -> ClippedObjective:
        """Return the objective, with a critic's advantages if there is one."""
        problem, learned_from = adapter.problem, None
        assert isinstance(problem, PolicyProblem), "its check refuses others"
        if state["critic"]:
            values = values_of(state["critic"], batch.query)
            query, targets = problem.revalued(batch.query, values)
            learned_from = Learned(values.steps.flatten(1), targets)
            batch = Batch(batch.experiences, query, batch.count, batch.adaptation)
        paid = credits(problem, batch.query) if self.sampling_correction else None
        clips = Clips(self.clip_range, self.clip_range_vf)
        return ClippedObjective(adapter, meta, batch, clips, learned_from, paid, self.watches_steps)

    def _epochs(
        self, objective: ClippedObjective, values: Meta, state: State, generator: torch.Generator
    ) -> tuple[Meta, Any, dict[str, float | Tensor]]:
        """Return what is learned after the epochs, the optimiser's state, and what a log should know of them."""

        def loss(values: Meta, rows: Tensor | None, size: float | None) -> tuple[Tensor, Terms]:
            terms = objective.terms(values, rows, size)
            return self.loss(state, terms), terms

        differentiate = grad_and_value(loss, has_aux=True)
        optimiser, first, steps = state["optimizer"], None, 0
        for rows, size in self._parts(objective.batch.count, generator):
            gradients, (total, terms) = differentiate(values, rows, size)
            gradients = {name: processes.mean(value) for name, value in gradients.items()}
            terms, norm = _everybodys(terms), total_norm(gradients)
            require_finite(f"{type(self).__name__} loss or gradient", processes.mean(total), norm)
            first = norm if first is None else first
            if self.target_kl is not None and not self.kl_coef and bool(terms.kl > TOLERANCE * self.target_kl):
                break
            if self.max_grad_norm is not None:
                gradients = limited(gradients, norm, self.max_grad_norm)
            values, optimiser = self._optimiser.step(values, gradients, optimiser)
            steps += 1
        assert first is not None, "there is at least one part"
        return values, optimiser, {"gradient_norm": first, "gradient_steps": float(steps)}

    def _parts(self, count: int, generator: torch.Generator) -> Iterator[tuple[Tensor | None, float | None]]:
        """Yield this process's tasks in each mini-batch of each epoch, and how many tasks all processes have in it.

        Raises:
            ConfigError: there are fewer tasks than mini-batches.
        """
        everybodys, first = count * processes.count(), count * processes.rank()
        if self.minibatches > everybodys:
            raise ConfigError(
                f"minibatches={self.minibatches} must not be more than the {everybodys} tasks of the meta-batch that they share"
            )
        for _ in range(self.n_epochs):
            if self.minibatches == 1:
                yield None, None
                continue
            order = torch.randperm(everybodys, generator=generator, device=generator.device)
            for part in order.tensor_split(self.minibatches):
                ours = part[(part >= first) & (part < first + count)] - first
                # if all tasks of the part are other processes', one of ours stands there and counts nothing
                yield (ours, len(part)) if len(ours) else (part.new_zeros(1), math.inf)


def adapted_coefficient(coefficient: Tensor, kl: Tensor, target: float, first: float) -> Tensor:
    """Return a penalty's weight, halved where a KL divergence is far below its target, doubled where it is far above.

    It stays within ``MOST_DOUBLINGS`` of what it was at first. Without an end one grew a thousand million times in a hundred
    steps, and Adam's mean squares of such gradients then left no step that could be seen for the rest of the run.
    """
    factor = torch.where(kl > TOLERANCE * target, 2.0, torch.where(kl < target / TOLERANCE, 0.5, 1.0))
    return (coefficient * factor.to(coefficient)).clamp(first * 2.0**-MOST_DOUBLINGS, first * 2.0**MOST_DOUBLINGS)


def _moving(meta: Meta, state: State) -> Meta:
    """Return what the optimiser moves: the meta-parameters, and the critic's numbers under names of their own."""
    numbers = {f"{CRITIC}{name}": value for name, value in state["critic"].items()}
    return {**{name: value.detach() for name, value in learned(meta).items()}, **numbers}


def _everybodys(terms: Terms) -> Terms:
    """Return the means of the terms over the processes, cut from the graph."""
    return Terms(*(processes.mean(term.detach()) for term in terms))
