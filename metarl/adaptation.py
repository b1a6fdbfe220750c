r"""The inner loop: a rule's steps on every task at once.

One mechanism serves every algorithm and both worlds:
$\theta_{i,t+1} = u(\theta_{i,t}, \nabla L_i(\theta_{i,t}), L_i(\theta_{i,t}), s_{i,t}, t)$ for tasks i and steps t.
"""

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad_and_value

from metarl.clock import Clock
from metarl.errors import ConfigError, require_positive
from metarl.problems.base import Problem, Tasks
from metarl.rules.base import State, UpdateRule

Meta = dict[str, Tensor]
"""The meta-parameters: ``"theta"``, shape (P,); ``"shared"``, shape (S,); and ``"rule.<name>"`` for the rule's own."""


@dataclass
class Adaptation:
    """What an adaptation did, kept so that an outer loop can replay it under other meta-parameters.

    Attributes:
        parameters: full parameters before the first and after each step, T + 1 tensors of shape (tasks, P + S).
        experiences: the support experience of each step, T of them.
        losses: the support loss before each step, T tensors of shape (tasks,), detached.
        states: the rule's state after each step, T of them, with the task axis first.
    """

    parameters: list[Tensor] = field(default_factory=list)
    experiences: list[Any] = field(default_factory=list)
    losses: list[Tensor] = field(default_factory=list)
    states: list[State] = field(default_factory=list)

    @property
    def adapted(self) -> Tensor:
        """The full parameters after the last step, shape (tasks, P + S)."""
        return self.parameters[-1]


class InnerLoop:
    """Adapts a problem's learner with a rule.

    Args:
        problem: gives experience and loss.
        rule: the update rule.
        steps: T, the inner steps in training; 0 to learn without adaptation, from the query sets alone.
        first_order: treat gradients and losses as constants in the meta-gradient, as first-order MAML and the LSTM
            meta-learner do.
        clip: clip every entry of the gradients, an infinite one too, to plus or minus this (TURTLE's code: 10), or None.

    Raises:
        ConfigError: ``steps`` or ``clip`` is out of range, or the rule was built for another network.
    """

    def __init__(
        self,
        problem: Problem[Any],
        rule: UpdateRule,
        steps: int = 1,
        first_order: bool = False,
        clip: float | None = None,
    ) -> None:
        require_positive(**({} if clip is None else {"inner_clip": clip}))
        if steps < 0 or int(steps) != steps:
            raise ConfigError(f"inner_steps={steps!r} must be a whole number, not negative")
        if rule.layout != problem.learner.layout:
            raise ConfigError(
                f"rule={type(rule).__name__} was built for {rule.layout.size} parameters, but the network's adapted ones are "
                f"{problem.learner.layout.size}: build it with the learner's own layout"
            )
        self.problem = problem
        self.rule = rule
        self.steps = steps
        self.first_order = first_order
        self.clip = clip
        self.clock = Clock()

    def initial_meta(self) -> Meta:
        """Return where meta-learning starts: the learner's own parameters and the rule's, as leaves with gradients."""
        theta, shared = self.problem.learner.initial()
        meta = {"theta": theta}
        if shared.numel():
            meta["shared"] = shared
        meta |= {f"rule.{name}": p.detach().clone().to(theta) for name, p in self.rule.named_parameters()}
        return {name: value.requires_grad_() for name, value in meta.items()}

    def adapt(self, meta: Meta, tasks: Tasks, generator: torch.Generator, steps: int | None = None) -> Adaptation:
        """Adapt to every task, collecting each step's support experience with the parameters before it.

        Differentiable in ``meta`` unless under ``torch.no_grad``; sampling itself never is.

        Args:
            meta: the meta-parameters.
            tasks: the meta-batch.
            generator: the source of the experience's noise.
            steps: inner steps, if other than in training.
        """
        kept = Adaptation()
        self._unroll(meta, kept, self.steps if steps is None else steps, self.problem.count(tasks), tasks, generator)
        return kept

    def replay(self, meta: Meta, experiences: list[Any], count: int | None = None) -> Tensor:
        """Return the full adapted parameters, shape (tasks, P + S), on kept experience; differentiable in ``meta``.

        ``count``, the number of tasks, is needed where there were no steps and so no experience.
        """
        kept = Adaptation(experiences=experiences)
        count = len(experiences[0][0]) if experiences else count or 1
        self._unroll(meta, kept, len(experiences), count, None, None)
        return kept.adapted

    def _unroll(
        self, meta: Meta, kept: Adaptation, steps: int, count: int, tasks: Tasks, generator: torch.Generator | None
    ) -> None:
        learner = self.problem.learner
        theta, shared = meta["theta"], meta.get("shared", meta["theta"].new_zeros(0))
        rule_parameters = {name[len("rule.") :]: value for name, value in meta.items() if name.startswith("rule.")}
        full = learner.join(theta, shared)
        kept.parameters.append(full.expand(count, -1))
        state = self.rule.initial_state(theta)

        def inner_step(theta: Tensor, state: State, experience: Any, step: int) -> tuple[Tensor, State, Tensor]:
            def support_loss(theta: Tensor) -> Tensor:
                return self.problem.loss(learner.join(theta, shared), experience)

            gradient, loss = grad_and_value(support_loss)(theta)
            if self.clip is not None:
                gradient = gradient.clamp(-self.clip, self.clip)
            if self.first_order:
                gradient, loss = gradient.detach(), loss.detach()
            result = functional_call(self.rule, rule_parameters, (theta, gradient, loss, state, step))
            if not isinstance(result, tuple) or len(result) != 2 or getattr(result[0], "shape", None) != theta.shape:
                raise ConfigError(
                    f"rule={type(self.rule).__name__} must return the moved theta, of shape {tuple(theta.shape)}, and its state"
                )
            return *result, loss

        for step in range(steps):
            if generator is not None:
                with self.clock("sampling"):
                    kept.experiences.append(self.problem.collect(kept.adapted.detach(), tasks, "support", generator))
            # before the first step every task has the same theta and state: one shared copy is faster to differentiate
            axis = None if step == 0 else 0
            batched = torch.vmap(inner_step, in_dims=(axis, axis, 0, None))
            with self.clock("adaptation") if generator is not None else nullcontext():
                theta, state, loss = batched(theta, state, kept.experiences[step], step)
            kept.losses.append(loss.detach())
            kept.states.append(state)
            kept.parameters.append(learner.join(theta, shared))
