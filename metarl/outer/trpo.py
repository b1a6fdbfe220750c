r"""TRPO through the adaptation: all meta-parameters take one natural-gradient step within a KL limit.

Schulman et al. 2015, "Trust Region Policy Optimization", sections 4 to 6 and appendix C, as used by MAML (section 5.3)
and by Meta-SGD, where the rates are updated too (Algorithm 2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metarl import processes
from metarl.adapters.base import Adapted, Adapter, Meta, learned
from metarl.compiler import compiled
from metarl.errors import ConfigError, require_between, require_flag, require_positive, require_whole
from metarl.outer.base import Outcome, OuterLoop, State, require_finite
from metarl.outer.meta_gradient import Batch
from metarl.outer.recomputation import chain_gradient
from metarl.outer.vectors import flatten, split
from metarl.problems.base import Apply
from metarl.problems.policy import PolicyProblem, Samples
from metarl.staging import Map, staged


@dataclass(frozen=True)
class TRPO(OuterLoop):
    r"""Maximises the query surrogate subject to $\overline{KL}(\pi_{old} \| \pi) \le \delta$ after adaptation.

    With $J$ the derivative of the adapted policies' distribution parameters by the meta-parameters, and $F$ the
    distribution's Fisher information, known in closed form, the products that conjugate gradient needs are
    $J^\top F J v$: the same two linear maps at every iteration, set up once.

    Raises:
        ConfigError: an option out of range.
    """

    max_kl: float = 0.01
    """Delta: the limit of the mean KL divergence between the adapted policies before and after the step."""
    cg_iterations: int = 10
    """Conjugate-gradient iterations."""
    damping: float = 1e-5
    """Added to the Fisher matrix's diagonal."""
    line_search_steps: int = 15
    """How often the step may be shortened before it is given up."""
    backtrack: float = 0.8
    """The factor by which it is shortened."""
    fisher_fraction: float = 1.0
    """The fraction of the time-steps that Fisher products use (TRPO's own remedy for speed, appendix C.1); gradient,
    line search and KL limit use all."""
    fisher_bfloat16: bool = False
    """Work out Fisher products in bfloat16 (by autocast) where the policy is of float32: faster on processors that have
    instructions for it, in a direction that is a little off. Gradient, line search and KL limit stay as they are."""
    compile: bool = False
    """Compile gradient, Fisher products and line search with ``torch.compile``, which takes a minute at first: the products
    gain most, and most of all in bfloat16."""

    def __post_init__(self) -> None:
        require_positive(max_kl=self.max_kl)
        require_whole(cg_iterations=self.cg_iterations, line_search_steps=self.line_search_steps)
        require_between(0, 1, backtrack=self.backtrack, fisher_fraction=self.fisher_fraction, damping=self.damping)
        require_positive(fisher_fraction=self.fisher_fraction)
        require_flag(fisher_bfloat16=self.fisher_bfloat16, compile=self.compile)

    def check(self, adapter: Adapter) -> None:
        """Raise ConfigError if there is no policy, or no step whose effect on it could be limited."""
        if not isinstance(adapter.problem, PolicyProblem):
            raise ConfigError("outer='trpo' needs a policy; predictors have no KL limit, use 'gradient_descent'")
        if adapter.steps == 0 and adapter.stage != Adapter.stage:
            raise ConfigError(f"outer='trpo' improves gradient steps, and {adapter.name} takes none: use outer='ppo'")
        if adapter.steps == 0:
            raise ConfigError("inner_steps=0 leaves TRPO no adaptation to improve: take at least one")
        if self.fisher_fraction < 1 and adapter.problem.rollouts.needs_whole_trajectories:
            raise ConfigError(
                f"fisher_fraction={self.fisher_fraction!r} takes single steps of trajectories, and rollouts with inner_loss="
                f"{adapter.problem.rollouts.inner_loss!r} and recall={adapter.problem.rollouts.recall} needs whole ones: use "
                "fisher_fraction=1"
            )

    def init(self, adapter: Adapter, meta: Meta, generator: torch.Generator) -> State:
        """Return nothing: there is no state.

        Raises:
            ConfigError: ``fisher_bfloat16`` of a policy that is not of float32.
        """
        if self.fisher_bfloat16 and meta["theta"].dtype != torch.float32:
            kind = str(meta["theta"].dtype).removeprefix("torch.")
            raise ConfigError(
                f"fisher_bfloat16=True is for policies of float32, and this one is of {kind}: use dtype='float32'"
            )
        return {}

    def improve(
        self, adapter: Adapter, meta: Meta, state: State, batch: Batch, generator: torch.Generator
    ) -> tuple[Outcome, State]:
        """Take one trust-region step with all that is learned."""
        return self.natural_step(adapter, meta, learned(meta), batch, generator), state

    def natural_step(
        self, adapter: Adapter, meta: Meta, moving: Meta, batch: Batch, generator: torch.Generator, length: float = 1.0
    ) -> Outcome:
        """Take one trust-region step with experience that was collected.

        Args:
            adapter: replays the adaptation, on a policy problem.
            meta: the meta-parameters.
            moving: those of them that the step may change.
            batch: what the adaptation under ``meta`` did, and trajectories of the adapted policies.
            generator: draws the time-steps of the Fisher products.
            length: the length of the step that the line search tries first, in units of the one that spends the KL limit.
        """
        policies = _Policies.of(adapter, meta, batch)
        moving = {name: value.detach() for name, value in moving.items()}
        values = list(moving.values())
        gradients, loss = self._gradient(policies, moving)
        gradient, mean_loss = processes.mean(flatten(gradients.values())), processes.mean(loss.detach())
        require_finite("TRPO gradient", mean_loss, gradient)
        product = self._fisher_product(policies, moving, generator)
        direction, product_of_direction = conjugate_gradient(product, gradient, self.cg_iterations)
        curvature = direction.dot(product_of_direction)
        step = length * direction * (2 * self.max_kl / curvature.clamp(min=torch.finfo(curvature.dtype).tiny)).sqrt()
        require_finite("TRPO step", step)
        old = flatten(values)

        def evaluate(candidate: Tensor) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                loss, kl = self._surrogate_and_kl(policies, dict(zip(moving, split(candidate, values), strict=True)))
            return processes.mean(loss), processes.mean(kl)

        accepted, tried, new_loss, kl = self._line_search(old, step, mean_loss, evaluate)
        metrics: dict[str, float | Tensor] = {
            "kl": kl,
            "line_search_steps": float(tried),
            "step_accepted": float(accepted is not old),
            "surrogate_improvement": mean_loss - new_loss,
            "gradient_norm": gradient.norm(),
        }
        moved = dict(zip(moving, split(accepted.clone(), values), strict=True))
        return Outcome({**meta, **moved}, mean_loss, batch.adaptation, batch.query, metrics)

    def _line_search(
        self, old: Tensor, step: Tensor, old_loss: Tensor, evaluate: Callable[[Tensor], tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, int, Tensor, Tensor]:
        """Shorten the step until the surrogate improves and the KL limit holds; the old parameters if it never does.

        Returns:
            The parameters, how many candidates were tried, and their loss and KL.
        """
        for tried in range(self.line_search_steps):
            candidate = old - self.backtrack**tried * step
            loss, kl = evaluate(candidate)
            if bool((loss < old_loss) & (kl <= self.max_kl)):  # false for nan too
                return candidate, tried + 1, loss, kl
        return old, self.line_search_steps, old_loss, torch.zeros_like(old_loss)

    @cached_property
    def _gradient(self) -> Callable[..., tuple[Meta, Tensor]]:
        return compiled(surrogate_gradient, "TRPO's gradient") if self.compile else surrogate_gradient

    @cached_property
    def _product(self) -> Callable[..., Map]:
        return staged(fisher_vector_product, "TRPO's products") if self.compile else fisher_vector_product

    @cached_property
    def _surrogate_and_kl(self) -> Callable[..., tuple[Tensor, Tensor]]:
        return compiled(surrogate_and_kl, "TRPO's line search") if self.compile else surrogate_and_kl

    def _fisher_product(self, policies: "_Policies", moving: Meta, generator: torch.Generator) -> Map:
        """Return v -> (J^T F J + damping) v on a fraction of the time-steps."""
        if self.fisher_fraction < 1:
            policies = policies.thinned(self.fisher_fraction, generator)
        product = self._product(policies, moving, self.fisher_bfloat16)
        return lambda vector: processes.mean(product(vector)) + self.damping * vector


class _Policies(NamedTuple):
    """What the adapted policies are functions of, beside the meta-parameters that move: experience that was collected.

    Attributes:
        adapter: replays the adaptation.
        meta: the meta-parameters under which the experience was collected.
        experiences: the support experience.
        query: the trajectories of the adapted policies.
        tasks: how many there are.
        step_weights: 1 / (steps of the meta-batch) where one happened, times the processes, so that their mean is the sum,
            shape (tasks, samples): every time-step of the meta-batch counts alike.
        path: what the tasks were before the first and after each step; see ``Adapter.replay``.
    """

    adapter: Adapter
    meta: Meta
    experiences: list[Any]
    query: Samples
    tasks: int
    step_weights: Tensor
    path: list[Adapted]

    @classmethod
    def of(cls, adapter: Adapter, meta: Meta, batch: Batch) -> "_Policies":
        """Return the policies of a batch."""
        assert batch.adaptation is not None, "policies are always adapted"
        weights = _step_weights(batch.query)
        return cls(adapter, meta, batch.experiences, batch.query, batch.count, weights, batch.adaptation.adapted)

    @property
    def problem(self) -> PolicyProblem:
        """What the policies are on."""
        assert isinstance(self.adapter.problem, PolicyProblem), "TRPO's check refuses others"
        return self.adapter.problem

    def replay(self, moving: Meta, on_path: bool = False) -> Adapted:
        """Return the adapted policies; on the path, with the values that they truly had."""
        return self.adapter.replay({**self.meta, **moving}, self.experiences, self.tasks, self.path if on_path else None)

    def of_tasks(self, function: Callable[[Apply, Any], Any], moving: Meta, adapted: Adapted) -> Any:
        """Return what a function of one task's policy and query experience gives for every task."""
        return self.adapter.of_tasks(function, {**self.meta, **moving}, adapted, self.query)

    def thinned(self, fraction: float, generator: torch.Generator) -> "_Policies":
        """Return the same policies on a part of the time-steps."""

        def thin(experience: Any) -> Any:
            samples = experience.weights.shape[1]
            keep = max(1, round(fraction * samples))
            chosen = torch.randperm(samples, generator=generator, device=experience.weights.device)[:keep]
            return experience.subset(chosen.sort().values)

        experiences, query = [thin(experience) for experience in self.experiences], thin(self.query)
        return self._replace(experiences=experiences, query=query, step_weights=_step_weights(query))


def _step_weights(query: Samples) -> Tensor:
    steps = query.lengths.sum(1)
    return query.weights * (steps / processes.mean(steps.sum()))[:, None]


def surrogate(policies: _Policies, moving: Meta) -> Tensor:
    """Return the mean of the tasks' surrogate losses, shape ()."""
    losses: Tensor = policies.of_tasks(policies.problem.surrogate, moving, policies.replay(moving))
    return losses.mean()


def surrogate_gradient(policies: _Policies, moving: Meta) -> tuple[Meta, Tensor]:
    """Return the gradient of the mean surrogate loss, and the loss, shape ()."""
    return chain_gradient([lambda moving, _: surrogate(policies, moving)], moving, {})


def surrogate_and_kl(policies: _Policies, moving: Meta) -> tuple[Tensor, Tensor]:
    """Return the mean of the tasks' surrogate losses, and KL(old || new) averaged over all their time-steps, each ()."""

    def of_task(apply: Apply, query: Samples) -> tuple[Tensor, Tensor]:
        outputs = policies.problem.outputs(apply, query)
        kl = policies.problem.distribution.kl(query.distribution_parameters, outputs)
        return policies.problem.surrogate_of(outputs, query), kl

    losses, kl = policies.of_tasks(of_task, moving, policies.replay(moving))
    return losses.mean(), (kl * policies.step_weights).sum()


def fisher_vector_product(policies: _Policies, moving: Meta, bfloat16: bool = False) -> Map:
    """Return v -> J^T F J v for vectors of shape (n,), as two passes through kept graphs, which may be of bfloat16 numbers."""
    moving = {name: value.detach().requires_grad_() for name, value in moving.items()}
    values = list(moving.values())
    with torch.autocast(values[0].device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=False):
        # of a part of the time-steps every inner step is taken where it was, with the derivative of that part
        outputs = policies.of_tasks(policies.problem.outputs, moving, policies.replay(moving, on_path=True))
    outputs = outputs.to(values[0])
    weights = policies.step_weights[..., None]
    # J^T u is linear in u: its own derivative by u, applied to v, is J v
    probe = torch.zeros_like(outputs, requires_grad=True)
    transposed = _grad(outputs, values, probe, create_graph=True)
    used = [i for i, part in enumerate(transposed) if part.requires_grad]

    def product(vector: Tensor) -> Tensor:
        parts = split(vector, values)
        forward = torch.autograd.grad([transposed[i] for i in used], probe, [parts[i] for i in used], retain_graph=True)[0]
        weighted = weights * policies.problem.distribution.fisher(outputs.detach(), forward)
        return flatten(_grad(outputs, values, weighted, retain_graph=True))

    return product


def conjugate_gradient(product: Map, target: Tensor, iterations: int, tolerance: float = 1e-10) -> tuple[Tensor, Tensor]:
    """Solve ``product(x) = target`` for a positive definite linear map.

    Args:
        product: the linear map on vectors of shape (n,).
        target: shape (n,).
        iterations: at most so many products.
        tolerance: stop when the squared residual falls below it.

    Returns:
        x, and product(x), which the recursion gives for nothing; both of shape (n,).
    """
    x = torch.zeros_like(target)
    residual, direction = target.clone(), target.clone()
    squared = residual.dot(residual)
    for _ in range(iterations):
        if bool(squared < tolerance):
            break
        image = product(direction)
        length = squared / direction.dot(image)
        x = x + length * direction
        residual = residual - length * image
        before, squared = squared, residual.dot(residual)
        direction = residual + squared / before * direction
    return x, target - residual


def _grad(output: Tensor, values: list[Tensor], weights: Tensor | None = None, **graph: bool) -> tuple[Tensor, ...]:
    """Differentiate; a rule's parameter that these steps do not use has a zero gradient."""
    return torch.autograd.grad(output, values, weights, allow_unused=True, materialize_grads=True, **graph)
