r"""The gradient adapter: a rule's steps on every task at once.

One mechanism serves every rule and both worlds:
$\theta_{i,t+1} = u(\theta_{i,t}, \nabla L_i(\theta_{i,t}), L_i(\theta_{i,t}), s_{i,t}, t)$ for tasks i and steps t.
"""

from __future__ import annotations  # else torch.compile stumbles over those of nested functions

import copy
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple, Self, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from metarl.adapters.base import Adaptation, Adapter, Link, Meta, averages, initial_values, shared, unneeded, with_averages
from metarl.adapters.methods import Methods
from metarl.adapters.starts import DrawnStart
from metarl.errors import ConfigError, require_positive
from metarl.learner import Averages, Learner
from metarl.problems.base import Apply, Problem, Tasks
from metarl.problems.base import State as PolicyState
from metarl.rules.base import State, UpdateRule
from metarl.staging import Map, staged

Adapted = tuple[Tensor, Averages]
"""A task's theta, shape (P,), and the moments that its normalisation layers use instead of the batch's own."""
RULE = "rule."


class Position(NamedTuple):
    """Where tasks are on their way, for steps that go on from there.

    Attributes:
        theta: shape (tasks, P); (P,) where all are at the same place.
        state: the rule's, the task axis first; without one where theta has none.
        step: how many steps they have taken.
    """

    theta: Tensor
    state: State
    step: int


class GradientAdapter(Adapter):
    """Adapts by gradient steps of an update rule on the support loss.

    Args:
        problem: gives experience and loss.
        learner: the network as a function of theta.
        rule: the update rule; its parameters are where meta-learning starts, and are not kept here.
        steps: T, the inner steps in training; 0 to learn without adaptation, from the query sets alone.
        first_order: treat gradients and losses as constants in the meta-gradient, as first-order MAML and the LSTM
            meta-learner do.
        clip: clip every entry of the gradients, an infinite one too, to plus or minus this (TURTLE's code: 10), or None.
        start: draws where each task begins, by noise that is the last of its experiences; None to begin all at the
            meta-learned theta.

    Raises:
        ConfigError: ``steps`` or ``clip`` is out of range, the rule was built for another network, or starts are drawn for
            policies.
    """

    def __init__(
        self,
        problem: Problem[Any],
        learner: Learner,
        rule: UpdateRule,
        steps: int = 1,
        first_order: bool = False,
        clip: float | None = None,
        start: DrawnStart | None = None,
    ) -> None:
        require_positive(**({} if clip is None else {"inner_clip": clip}))
        if steps < 0 or int(steps) != steps:
            raise ConfigError(f"inner_steps={steps!r} must be a whole number, not negative")
        if rule.layout != learner.layout:
            raise ConfigError(
                f"rule={type(rule).__name__} was built for {rule.layout.size} parameters, but the network's adapted ones are "
                f"{learner.layout.size}: build it with the learner's own layout"
            )
        if start is not None and problem.on_policy:
            raise ConfigError("tasks that begin anew each are for predictors: choose a family of few-shot episodes")
        super().__init__(problem, learner, steps)
        self._set_rule(rule)
        self.first_order = first_order
        self.clip = clip
        self.start = start
        self._outputs = staged(_outputs_of_tasks)

    def _set_rule(self, rule: UpdateRule) -> None:
        self._methods = Methods.of(rule)
        self.rule = cast(UpdateRule, self._methods.target)
        self._constants = {f"{RULE}{name}": value.detach().clone() for name, value in rule.named_buffers()}
        self.numbers_per_coordinate = rule.numbers_per_coordinate
        learned_by_rule = {name for name, _ in rule.named_parameters()}
        if learned_by_rule and learned_by_rule == set(rule.rate_parameters):
            self.rate_names = tuple(f"{RULE}{name}" for name in rule.rate_parameters)

    @property
    def name(self) -> str:
        """The rule's name, for errors."""
        return f"rule={type(self.rule).__name__}"

    def initial_meta(self, *modules: nn.Module) -> Meta:
        """Return the numbers of a network and a rule."""
        network, rule = modules
        meta = initial_values(self.learner, network)
        return meta | {f"{RULE}{name}": value.detach().clone().to(meta["theta"]) for name, value in rule.named_parameters()}

    def adapt(
        self,
        meta: Meta,
        tasks: Tasks,
        generator: torch.Generator,
        steps: int | None = None,
        position: Position | None = None,
    ) -> Adaptation:
        """Adapt to every task, collecting each step's support experience with the parameters before it.

        Differentiable in ``meta`` unless under ``torch.no_grad``; sampling itself never is.

        Args:
            meta: the meta-parameters.
            tasks: the meta-batch.
            generator: the source of the experience's noise, and of starts that are drawn.
            steps: other than in training; None for as many.
            position: where to go on from; None to begin.
        """
        kept, count = Adaptation(), self.problem.count(tasks)
        noise = [] if position is not None else self._noise(count, generator)
        if noise:
            position = self._begin(meta, noise[0])
        self._unroll(meta, kept, self.steps if steps is None else steps, count, tasks, generator, position=position)
        kept.experiences.extend(noise)
        return kept

    def first_state(self, meta: Meta) -> State:
        """Return the rule's state before the first step at the meta-learned theta, without a task axis."""
        return functional_call(self._methods, self._rule_values(meta), ("initial_state", meta["theta"]))

    def _begin(self, meta: Meta, noise: Tensor | None = None) -> Position:
        """Return where tasks begin: at the meta-learned theta, or where noise of shape (tasks, P) leads to."""
        if noise is None:  # one shared copy of theta and state is faster to differentiate
            return Position(meta["theta"], self.first_state(meta), 0)
        assert self.start is not None
        starts = self.start.of(meta["theta"], noise)
        return Position(starts, torch.vmap(lambda theta: self.first_state({**meta, "theta": theta}))(starts), 0)

    def _noise(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """Return the noise that tasks begin from; none if they all begin at the meta-learned theta."""
        return [] if self.start is None else [self.start.noise(count, generator)]

    def experiences(self, tasks: Tasks, generator: torch.Generator) -> list[Any]:
        """Return each step's support experience, the whole support set if its moments are used, and the noise of starts."""
        noise = self._noise(self.problem.count(tasks), generator)
        collected = [self.problem.collect(unneeded, tasks, "support", generator) for _ in range(self.steps)]
        return collected + ([self.problem.support_inputs(tasks)] if self.learner.batch_norm == "support" else []) + noise

    def replay(self, meta: Meta, experiences: list[Any], count: int, path: list[Any] | None = None) -> Adapted:
        """Return the tasks' theta, shape (tasks, P), and moments, on kept experience; see ``Adapter``."""
        adapted: Adapted = self.replay_steps(meta, experiences, count, path)[-1]
        return adapted

    def replay_steps(self, meta: Meta, experiences: list[Any], count: int, path: list[Any] | None = None) -> list[Adapted]:
        """Return the tasks' theta, shape (tasks, P), before the first and after each step; see ``Adapter``."""
        position = None
        if self.start is not None:
            experiences, position = experiences[:-1], self._begin(meta, experiences[-1])
        kept = Adaptation(experiences=experiences)
        steps = len(experiences) - (self.learner.batch_norm == "support")
        self._unroll(meta, kept, steps, count, path=path, position=position)
        return kept.adapted

    def replay_chain(self, experiences: list[Any], count: int) -> list[Link]:
        """Return a replay as its beginning, its steps, and its end, which takes the moments; see ``Adapter``."""
        noise = None
        if self.start is not None:
            experiences, noise = experiences[:-1], experiences[-1]
        *experiences, support = experiences if self.learner.batch_norm == "support" else [*experiences, None]

        def begin(meta: Meta, _: tuple[()]) -> tuple[Tensor, State]:
            return self._begin(meta, noise)[:2]

        def step(number: int, meta: Meta, passed: tuple[Tensor, State]) -> tuple[Tensor, State]:
            return self._step(meta, Position(*passed, number), experiences[number])[:2]

        def end(meta: Meta, passed: tuple[Tensor, State]) -> Adapted:
            theta = passed[0].expand(count, -1)
            return theta, {} if support is None else self._moments(meta, theta, support)

        return [begin, *(partial(step, number) for number in range(len(experiences))), end]

    def apply(self, meta: Meta, adapted: Adapted, inputs: Tensor, state: PolicyState = ()) -> tuple[Tensor, PolicyState]:
        """Return the network's outputs with one task's theta, and the state as it was."""
        return _output(self.learner, meta, adapted, inputs), state

    def policies(self, meta: Meta, adapted: Adapted) -> Apply:
        """Return the same as ``together``, traced at the first step; plain where a subclass has an ``apply`` of its own."""
        if type(self).apply is not GradientAdapter.apply:
            return self.together(meta, adapted)
        outputs = self._outputs(self.learner, meta, adapted)
        return lambda observations, state=(): (outputs(observations), state)

    def _unroll(
        self,
        meta: Meta,
        kept: Adaptation,
        steps: int,
        count: int,
        tasks: Tasks = None,
        generator: torch.Generator | None = None,
        path: list[Any] | None = None,
        position: Position | None = None,
    ) -> None:
        keeps_support = self.learner.batch_norm == "support"
        theta, state, taken = position or self._begin(meta)
        if keeps_support:
            support = self.problem.support_inputs(tasks) if generator is not None else kept.experiences[-1]

        def adapted(theta: Tensor, last: bool = False) -> Adapted:
            """Return theta with its moments; a replay needs those of the last step only."""
            needed = keeps_support and (last or generator is not None)
            return theta, self._moments(meta, theta, support) if needed else {}

        kept.adapted.append(adapted(theta.expand(count, -1), last=steps == 0))
        for step in range(steps):
            if generator is not None:
                detached = _detached(kept.adapted[-1])
                with self.clock("sampling"):
                    apply = self.policies(meta, detached)
                    kept.experiences.append(self.problem.collect(apply, tasks, "support", generator))
            with self.clock("adaptation") if generator is not None else nullcontext():
                theta, state, loss = self._step(meta, Position(theta, state, taken + step), kept.experiences[step])
            if path is not None:  # the value is the true one, the derivative that of this replay
                theta = path[step + 1][0] + (theta - theta.detach())
            kept.losses.append(loss.detach())
            if generator is not None:  # for logs and pictures; a replay has no need of them
                kept.states.append(state)
            kept.adapted.append(adapted(theta, last=step == steps - 1))
        if keeps_support and generator is not None:
            kept.experiences.append(support)

    def _step(self, meta: Meta, position: Position, experience: Any) -> tuple[Tensor, State, Tensor]:
        """Return the tasks' theta and state after one inner step on their experience, and the losses before it."""
        call = partial(functional_call, self._methods, self._rule_values(meta))
        start, before, step = position

        def of_task(theta: Tensor, state: State, experience: Any) -> tuple[Tensor, State, Tensor]:
            def support_loss(theta: Tensor) -> Tensor:
                return self.problem.loss(partial(self.apply, meta, (theta, {})), experience)

            gradient, loss = grad_and_value(support_loss)(theta)
            if self.clip is not None:
                gradient = gradient.clamp(-self.clip, self.clip)
            if self.first_order:
                gradient, loss = gradient.detach(), loss.detach()
            result = call(("forward", theta, gradient, loss, state, step))
            if not isinstance(result, tuple) or len(result) != 2 or getattr(result[0], "shape", None) != theta.shape:
                raise ConfigError(
                    f"rule={type(self.rule).__name__} must return the moved theta, of shape {tuple(theta.shape)}, and its state"
                )
            return *result, loss

        axis = 0 if start.ndim == 2 else None
        moved: tuple[Tensor, State, Tensor] = torch.vmap(of_task, in_dims=(axis, axis, 0))(start, before, experience)
        return moved

    def _moments(self, meta: Meta, theta: Tensor, support: Tensor) -> Averages:
        """Return the moments of every task's support inputs, the task axis first."""
        moments: Averages = torch.vmap(self.learner.moments, in_dims=(0, None, 0))(theta, shared(meta), support)
        return moments

    def _rule_values(self, meta: Meta) -> dict[str, Tensor]:
        """Return the rule's parameters and buffers under the names that ``Methods`` has them by."""
        return Methods.values(RULE, meta, self._constants)

    def rates(self, meta: Meta, step: int = 0) -> Tensor | None:
        """Return the rule's rate for every coordinate at a step, shape (P,); None if it has none."""
        with torch.no_grad():
            rates: Tensor | None = functional_call(self._methods, self._rule_values(meta), ("rates", step))
        return rates

    def gates(self, meta: Meta, state: State) -> dict[str, Tensor]:
        """Return what the rule's state after a step says of the step, by name, each of shape (tasks, P)."""
        gates: dict[str, Tensor] = functional_call(self._methods, self._rule_values(meta), ("gates", state))
        return gates

    def with_rule(self, rule: UpdateRule) -> Self:
        """Return the same adapter with another rule, which learns nothing of its own."""
        other = copy.copy(self)
        other._set_rule(rule)
        return other

    def report(self, meta: Meta, adaptation: Adaptation) -> dict[str, Tensor]:
        """Return the support losses before, and the means of the rule's gates in each step."""
        gates = {
            f"{name.replace(' ', '_')}_of_step_{step}": values.mean()
            for step, state in enumerate(adaptation.states, start=1)
            for name, values in self.gates(meta, state).items()
        }
        return super().report(meta, adaptation) | gates

    def describe(self, meta: Meta) -> dict[str, float]:
        """Return the mean and the deviation of the rule's rates, if it has any."""
        rates = self.rates(meta)
        return {} if rates is None else {"rate_mean": float(rates.mean()), "rate_std": float(rates.std(correction=0))}

    def classifier_shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the network's last layer with so many outputs.

        Raises:
            ConfigError: the network does not end in a linear layer.
        """
        shapes = {name: self.learner.shapes[name] for name in self.learner.head}
        first = next(iter(shapes.values()))
        if len(first) != 2 or any(shape[0] != first[0] for shape in shapes.values()):
            raise ConfigError(
                "policy: pretraining puts another classifier in place of the last layer, but "
                f"{', '.join(shapes)} are of shape {[tuple(shape) for shape in shapes.values()]}: "
                "end with an nn.Linear or a CosineHead"
            )
        return {name: (classes, *shape[1:]) for name, shape in shapes.items()}

    def classify(self, meta: Meta, classifier: Mapping[str, Tensor], inputs: Tensor) -> tuple[Tensor, Meta]:
        """Return the logits with the classifier in the place of the network's last layer; see ``Adapter``."""
        logits, tracked = self.learner.track(meta["theta"], shared(meta), inputs, averages(meta), classifier)
        return logits, with_averages(meta, tracked)


def _output(learner: Learner, meta: Meta, adapted: Adapted, inputs: Tensor) -> Tensor:
    """Return the network's outputs with one task's theta and moments."""
    theta, moments = adapted
    return learner(theta, shared(meta), inputs, moments or averages(meta))


def _outputs_of_tasks(learner: Learner, meta: Meta, adapted: Adapted) -> Map:
    batched = torch.vmap(partial(_output, learner, meta))
    return lambda inputs: batched(adapted, inputs)


def _detached(adapted: Adapted) -> Adapted:
    """Return one step's theta and moments, cut from the graph."""
    theta, moments = adapted
    return theta.detach(), {name: value.detach() for name, value in moments.items()}
