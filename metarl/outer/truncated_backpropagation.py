r"""Truncated backpropagation: a rule learns from long trainings, some steps at a time.

Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient descent", section 2: the sum of losses along a
trajectory, in segments that each begin where the last one ended.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.func import grad_and_value
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from metarl import processes
from metarl.adapters.base import Adaptation, Adapter, Meta, learned
from metarl.adapters.gradient import GradientAdapter, Position
from metarl.errors import CheckpointError, ConfigError, require_positive, require_whole, unknown_name
from metarl.outer.base import Outcome, OuterLoop, State, require_finite
from metarl.outer.meta_gradient import Batch
from metarl.outer.optimisers import Optimiser
from metarl.outer.vectors import total_norm
from metarl.problems.base import Tasks

Objective = Literal["support", "query"]
IN_FLIGHT = {"step", "theta", "rule", "tasks"}
"""What is kept of trainings that are under way."""


@dataclass(frozen=True)
class TruncatedBackpropagation(OuterLoop):
    r"""Moves what a rule learns by $\nabla_\phi \frac1K \sum_{t=1}^{K} L(\theta_{s+t})$ along segments of K steps.

    A meta-batch of tasks is trained on for as many steps as the adapter takes (the horizon), K of them in an outer step. The
    next outer step goes on where it ended, with the rule's own state, and nothing is differentiated across the border. After
    the horizon new tasks are taken up; meta-batches that are drawn in between are left. The paper has the sum where this has
    the mean, which to Adam is the same but where K does not divide the horizon: the losses of the last, shorter segment weigh
    more. Theta itself is not learned: every training begins where the adapter says.

    Raises:
        ConfigError: an unknown optimiser or a value out of range.
    """

    learning_rate: float = 1e-3
    """Of the optimiser that trains the rule."""
    halve_every: int | None = None
    """Halve it after every so many outer steps."""
    unroll: int = 20
    """K, the steps of a segment."""
    objective: Objective = "query"
    """Whose loss is summed along the way: the query set's, or the support set's that the steps go down, as in the paper."""
    optimizer: str = "Adam"
    """The name of a class in ``torch.optim``."""
    optimizer_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Its other arguments."""
    clip_norm: float | None = None
    """Scale the meta-gradient down to this norm."""

    def __post_init__(self) -> None:
        require_whole(unroll=self.unroll, **({} if self.halve_every is None else {"halve_every": self.halve_every}))
        if self.clip_norm is not None:
            require_positive(clip_norm=self.clip_norm)
        if self.objective not in get_args(Objective):
            raise unknown_name("objective", self.objective, get_args(Objective))
        _ = self._optimiser  # its name and arguments are looked at now, not at the first step

    @cached_property
    def _optimiser(self) -> Optimiser:
        return Optimiser(self.optimizer, self.learning_rate, self.optimizer_kwargs)

    def check(self, adapter: Adapter) -> None:
        """Raise ConfigError unless the adapter steps by a rule that learns, on predictors without running averages."""
        name = "outer=TruncatedBackpropagation()"
        if not isinstance(adapter, GradientAdapter) or adapter.problem.on_policy:
            raise ConfigError(f"{name} trains update rules on few-shot episodes: use an agent that steps, on predictors")
        if not adapter.rule.learned and not adapter.learner.shared_layout.size:
            raise ConfigError(f"{name} moves what a rule learns, and {adapter.name} learns nothing: use LearnedOptimiser")
        if not adapter.steps:
            raise ConfigError(f"inner_steps=0: {name} trains along inner steps; take at least one")
        if adapter.learner.keeps_averages:
            raise ConfigError(
                f"{name} begins anew for every task, so averages say nothing: use batch_norm='batch' or 'support'"
            )

    def init(self, adapter: Adapter, meta: Meta, generator: torch.Generator) -> State:
        """Return an optimiser's state before its first step, the count of steps, and no training under way."""
        return {"optimizer": {}, "steps": 0, "in_flight": {}}

    def require_state(self, meta: Meta, ours: State, theirs: State) -> None:
        """Raise CheckpointError if the checkpoint's optimiser or trainings are of other parameters."""
        self._optimiser.require_state(_moving(meta), theirs["optimizer"])
        flight, size = theirs["in_flight"], meta["theta"].numel()
        if not flight:
            return
        count = len(flight["theta"]) if flight.keys() == IN_FLIGHT else 0
        rows = all(isinstance(leaf, Tensor) and len(leaf) == count for leaf in tree_leaves([flight["rule"], flight["tasks"]]))
        if not rows or flight["theta"].shape != (count, size) or type(flight["step"]) is not int or flight["step"] < 1:
            raise CheckpointError(
                "the checkpoint is damaged: its trainings under way are not of this agent's theta; use an earlier checkpoint"
            )

    def gather(self, adapter: Adapter, meta: Meta, tasks: Tasks, generator: torch.Generator, report: bool = True) -> Batch:
        """Return the tasks as they are: steps are taken in ``improve``, which knows what is under way."""
        return Batch([], tasks, adapter.problem.count(tasks))

    def improve(
        self, adapter: Adapter, meta: Meta, state: State, batch: Batch, generator: torch.Generator
    ) -> tuple[Outcome, State]:
        """Train on for a segment, differentiate the losses along it, and let the optimiser step."""
        assert isinstance(adapter, GradientAdapter)
        tasks, position = self._resumed(adapter, meta, state["in_flight"], batch)
        taken = 0 if position is None else position.step
        steps = min(self.unroll, adapter.steps - taken)

        def segment(values: Meta) -> tuple[Tensor, tuple[Tensor, Tensor, Any]]:
            changed = {**meta, **values}
            adaptation = adapter.adapt(changed, tasks, generator, steps, position)
            losses = self._losses(adapter, changed, adaptation, tasks, generator)
            return losses.mean(), (losses[-1].mean(), adaptation.adapted[-1][0], adaptation.states[-1])

        values = {name: value.detach() for name, value in _moving(meta).items()}
        gradients, (loss, (last, theta, rule)) = grad_and_value(segment, has_aux=True)(values)
        end = Position(theta, rule, taken + steps)
        gradients = {name: processes.mean(value) for name, value in gradients.items()}
        loss, last, norm = processes.mean(loss.detach()), processes.mean(last.detach()), total_norm(gradients)
        require_finite("loss along the way or its meta-gradient", loss, norm)
        if self.clip_norm is not None:
            factor = (self.clip_norm / (norm + 1e-6)).clamp(max=1)
            gradients = {name: factor * value for name, value in gradients.items()}
        scale = 1.0 if self.halve_every is None else 0.5 ** (state["steps"] // self.halve_every)
        moved, optimiser = self._optimiser.step(values, gradients, state["optimizer"], scale)
        metrics: dict[str, float | Tensor] = {"gradient_norm": norm, "last_loss": last, "steps_taken": end.step}
        outcome = Outcome({**meta, **moved}, loss, metrics=metrics)
        in_flight = {} if end.step == adapter.steps else _kept(end, tasks)
        return outcome, {"optimizer": optimiser, "steps": state["steps"] + 1, "in_flight": in_flight}

    def _losses(
        self, adapter: GradientAdapter, meta: Meta, adaptation: Adaptation, tasks: Tasks, generator: torch.Generator
    ) -> Tensor:
        """Return the losses after each step, shape (steps, tasks): of the next step's support set, or of the query set."""
        visited = adaptation.adapted[1:]
        if self.objective == "query":
            experiences = [tasks.query] * len(visited)
        else:
            following = adapter.problem.collect(adapter.policies(meta, visited[-1]), tasks, "support", generator)
            experiences = [*adaptation.experiences[1 : len(visited)], following]
        at_once = [tree_map(lambda *steps: torch.cat(steps), *parts) for parts in (visited, experiences)]
        return adapter.losses(meta, *at_once).view(len(visited), -1)

    def _resumed(
        self, adapter: GradientAdapter, meta: Meta, in_flight: Mapping[str, Any], batch: Batch
    ) -> tuple[Tasks, Position | None]:
        """Return this process's tasks and where they are; the batch's own, at their beginning, if none is under way."""
        if not in_flight:
            return batch.query, None
        rows = processes.rows_of_this(len(in_flight["theta"]))
        tasks = tree_unflatten([leaf[rows] for leaf in in_flight["tasks"].values()], tree_flatten(batch.query)[1])
        structure = tree_flatten(adapter.first_state(meta))[1]
        rule = tree_unflatten([leaf[rows] for leaf in in_flight["rule"].values()], structure)
        return tasks, Position(in_flight["theta"][rows], rule, in_flight["step"])


def _moving(meta: Meta) -> Meta:
    """Return what the optimiser moves: all that is learned but theta."""
    return {name: value for name, value in learned(meta).items() if name != "theta"}


def _kept(position: Position, tasks: Tasks) -> dict[str, Any]:
    """Return all processes' trainings as a checkpoint holds them: numbered tensors in the place of other containers."""

    def leaves(tree: Any) -> dict[str, Tensor]:
        return {str(number): processes.everybodys(leaf.detach()) for number, leaf in enumerate(tree_leaves(tree))}

    return {
        "step": position.step,
        "theta": processes.everybodys(position.theta.detach()),
        "rule": leaves(position.state),
        "tasks": leaves(tasks),
    }
