r"""TRPO through the adaptation: all meta-parameters take one natural-gradient step within a KL limit.

Schulman et al. 2015, "Trust Region Policy Optimization", sections 4 to 6 and appendix C, as used by MAML (section 5.3)
and by Meta-SGD, where the rates are updated too (Algorithm 2).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from metarl import processes
from metarl.adaptation import Adaptation, InnerLoop, Meta
from metarl.errors import ConfigError, require_between, require_positive
from metarl.outer.base import Outcome, OuterLoop, collect, require_finite
from metarl.problems.base import Tasks
from metarl.problems.policy import PolicyProblem, Trajectories

Product = Callable[[Tensor], Tensor]


@dataclass
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

    def __post_init__(self) -> None:
        require_positive(max_kl=self.max_kl, cg_iterations=self.cg_iterations, line_search_steps=self.line_search_steps)
        require_between(0, 1, backtrack=self.backtrack, fisher_fraction=self.fisher_fraction, damping=self.damping)
        require_positive(fisher_fraction=self.fisher_fraction)

    def check(self, inner: InnerLoop) -> None:
        """Raise ConfigError if the problem has no policy."""
        if not isinstance(inner.problem, PolicyProblem):
            raise ConfigError("outer='trpo' needs a policy; predictors have no KL limit, use 'gradient_descent'")
        if inner.steps == 0:
            raise ConfigError("inner_steps=0 leaves TRPO no adaptation to improve: take at least one")

    def step(self, inner: InnerLoop, meta: Meta, tasks: Tasks, generator: torch.Generator, report: bool = True) -> Outcome:
        """Sample, adapt, sample with the adapted policies, and take one trust-region step."""
        self.check(inner)
        adaptation, query = collect(inner, meta, tasks, generator)
        return self.improve(inner, meta, meta, adaptation, query, generator)

    def improve(
        self,
        inner: InnerLoop,
        meta: Meta,
        moving: Meta,
        adaptation: Adaptation,
        query: Trajectories,
        generator: torch.Generator,
        length: float = 1.0,
    ) -> Outcome:
        """Take one trust-region step with experience that was collected.

        Args:
            inner: the inner loop, on a policy problem.
            meta: the meta-parameters.
            moving: those of them that the step may change.
            adaptation: what the adaptation under ``meta`` did.
            query: trajectories of the adapted policies.
            generator: draws the time-steps of the Fisher products.
            length: the length of the step that the line search tries first, in units of the one that spends the KL limit.
        """
        problem = inner.problem
        assert isinstance(problem, PolicyProblem)
        values = list(moving.values())
        adapted = inner.replay(meta, adaptation.experiences)
        loss = torch.vmap(problem.surrogate)(adapted, query).mean()
        gradient = processes.mean(_flatten(_grad(loss, values)))
        mean_loss = processes.mean(loss.detach())
        require_finite("TRPO gradient", mean_loss, gradient)
        product = self._fisher_product(inner, meta, values, adaptation, query, generator)
        direction, product_of_direction = conjugate_gradient(product, gradient, self.cg_iterations)
        curvature = direction.dot(product_of_direction)
        step = length * direction * (2 * self.max_kl / curvature.clamp(min=torch.finfo(curvature.dtype).tiny)).sqrt()
        require_finite("TRPO step", step)
        old = _flatten(values)

        def evaluate(candidate: Tensor) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                changed = dict(zip(moving, _split(candidate, values), strict=True))
                parameters = inner.replay({**meta, **changed}, adaptation.experiences)
                loss = torch.vmap(problem.surrogate)(parameters, query).mean()
                return processes.mean(loss), _mean_kl(problem, parameters, query)

        accepted, tried, new_loss, kl = self._line_search(old, step, mean_loss, evaluate)
        with torch.no_grad():
            for value, part in zip(values, _split(accepted, values), strict=True):
                value.copy_(part)
        metrics: dict[str, float | Tensor] = {
            "kl": kl,
            "line_search_steps": float(tried),
            "step_accepted": float(accepted is not old),
            "surrogate_improvement": mean_loss - new_loss,
            "gradient_norm": gradient.norm(),
        }
        return Outcome(adaptation, query, mean_loss, metrics)

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

    def _fisher_product(
        self,
        inner: InnerLoop,
        meta: Meta,
        values: list[Tensor],
        adaptation: Adaptation,
        query: Trajectories,
        generator: torch.Generator,
    ) -> Product:
        """Return v -> (J^T F J + damping) v on a fraction of the time-steps, as two passes through kept graphs."""
        problem = inner.problem
        assert isinstance(problem, PolicyProblem)
        experiences: list[Any] = adaptation.experiences
        if self.fisher_fraction < 1:
            experiences = [self._thin(experience, generator) for experience in experiences]
            query = self._thin(query, generator)
        replayed = inner.replay(meta, experiences)
        # the derivative is that of the thinned replay, the point where it is taken is the true adapted one
        parameters = adaptation.adapted + (replayed - replayed.detach()) if self.fisher_fraction < 1 else replayed
        outputs = torch.vmap(problem.outputs)(parameters, query)
        weights = (query.weights * _task_weights(query)[:, None])[..., None]
        # J^T u is linear in u: its own derivative by u, applied to v, is J v
        probe = torch.zeros_like(outputs, requires_grad=True)
        transposed = _grad(outputs, values, probe, create_graph=True)
        used = [i for i, part in enumerate(transposed) if part.requires_grad]

        def product(vector: Tensor) -> Tensor:
            parts = _split(vector, values)
            forward = torch.autograd.grad([transposed[i] for i in used], probe, [parts[i] for i in used], retain_graph=True)[0]
            weighted = weights * problem.distribution.fisher(outputs.detach(), forward)
            back = _flatten(_grad(outputs, values, weighted, retain_graph=True))
            return processes.mean(back) + self.damping * vector

        return product

    def _thin(self, experience: Trajectories, generator: torch.Generator) -> Trajectories:
        samples = experience.weights.shape[1]
        keep = max(1, round(self.fisher_fraction * samples))
        chosen = torch.randperm(samples, generator=generator, device=experience.weights.device)[:keep]
        return experience.subset(chosen.sort().values)


def conjugate_gradient(product: Product, target: Tensor, iterations: int, tolerance: float = 1e-10) -> tuple[Tensor, Tensor]:
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


def _task_weights(query: Trajectories) -> Tensor:
    """Return each task's share of all time-steps, shape (tasks,), times the processes, so that their mean is the sum."""
    steps = query.lengths.sum(1)
    return steps / (processes.mean(steps.sum()))


def _mean_kl(problem: PolicyProblem, parameters: Tensor, query: Trajectories) -> Tensor:
    """Return KL(old || new) averaged over all time-steps of all tasks, shape ()."""
    kl = problem.distribution.kl(query.parameters, torch.vmap(problem.outputs)(parameters, query))
    return processes.mean(((kl * query.weights).sum(1) * _task_weights(query)).sum())


def _grad(output: Tensor, values: list[Tensor], weights: Tensor | None = None, **graph: bool) -> tuple[Tensor, ...]:
    """Differentiate; a rule's parameter that these steps do not use has a zero gradient."""
    return torch.autograd.grad(output, values, weights, allow_unused=True, materialize_grads=True, **graph)


def _flatten(values: Any) -> Tensor:
    return torch.cat([value.detach().reshape(-1) for value in values])


def _split(vector: Tensor, values: list[Tensor]) -> list[Tensor]:
    parts = torch.split(vector, [value.numel() for value in values])
    return [part.view_as(value) for part, value in zip(parts, values, strict=True)]
