r"""Reptile: the meta-parameters move towards where the tasks' inner steps lead, and nothing is differentiated through them.

Nichol, Achiam and Schulman 2018, "On First-Order Meta-Learning Algorithms", Algorithm 2 (with one task, Algorithm 1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from metarl import processes
from metarl.adapters import Adapter, GradientAdapter
from metarl.adapters.base import Adapted, Meta
from metarl.compiler import compiled
from metarl.errors import ConfigError, NonFiniteError, require_between, require_flag, require_positive, require_whole
from metarl.outer.base import Outcome, OuterLoop, State, require_finite
from metarl.outer.meta_gradient import Batch, of_one_shape
from metarl.outer.vectors import stacked


@dataclass(frozen=True)
class Reptile(OuterLoop):
    r"""Takes $\theta \leftarrow \theta + \epsilon\,\frac1n \sum_i (\theta_i' - \theta)$ over the tasks i of a meta-batch.

    With one step of gradient descent at rate $\alpha$ on whole support sets this is a step of joint training at rate
    $\epsilon\alpha$; with more, $\theta_i' - \theta$ is $-\alpha$ times the sum of the inner gradients, whose expectation
    also rewards agreement between the gradients of one task's minibatches (section 5.1). The query sets serve the log alone.
    Policies learn so too: their adapted parameters come of the trajectories that were sampled.

    A rule's memory starts anew in every task; the paper's Adam keeps its moments from one task to the next. Minibatches of a
    support set (``support_batch``) are drawn with replacement; the paper's pass through it.

    Raises:
        ConfigError: an option out of range.
    """

    fraction: float = 1.0
    """Epsilon: how far theta goes of the way to the mean of the adapted parameters."""
    anneal_over: int | None = None
    """Let the fraction fall linearly, to nought after so many outer steps: the run's iterations, as in the paper."""
    compile: bool = False
    """Compile the inner steps with ``torch.compile``: several times faster on small predictors, after some seconds."""

    def __post_init__(self) -> None:
        require_positive(fraction=self.fraction)
        require_between(0, 1, fraction=self.fraction)
        if self.anneal_over is not None:
            require_whole(anneal_over=self.anneal_over)
        require_flag(compile=self.compile)

    @cached_property
    def _followed(self) -> Callable[..., tuple[Tensor, Tensor]]:
        return compiled(self.followed, "the adaptation") if self.compile else self.followed

    @cached_property
    def _followed_of_runs(self) -> Callable[..., tuple[Tensor, Tensor]]:
        """The same of several runs, which are the first axis of all tensors."""
        return compiled(self._of_runs, "the adaptation") if self.compile else self._of_runs

    def _of_runs(self, adapter: Adapter, meta: Meta, experiences: list[Any], query: Any, count: int) -> tuple[Tensor, Tensor]:
        def one(meta: Meta, experiences: list[Any], query: Any) -> tuple[Tensor, Tensor]:
            return self.followed(adapter, meta, experiences, query, count)

        result: tuple[Tensor, Tensor] = torch.vmap(one)(meta, experiences, query)
        return result

    def check(self, adapter: Adapter) -> None:
        """Raise ConfigError unless inner steps move all that is meta-learned: nothing else would ever learn."""
        if not isinstance(adapter, GradientAdapter):
            raise ConfigError(
                f"outer=Reptile() follows inner steps, and {adapter.name} takes none: use outer='gradient_descent', or an "
                "agent that steps, such as MAML"
            )
        if adapter.steps == 0:
            raise ConfigError("inner_steps=0 leaves Reptile nothing to follow: take at least one")
        shared = adapter.learner.shared_layout.names
        if shared:
            raise ConfigError(
                f"adapted leaves out {', '.join(shared)}: Reptile moves only what inner steps change; give adapted='all', or "
                "use outer='gradient_descent'"
            )
        if adapter.rule.learned:
            raise ConfigError(
                f"{adapter.name} has parameters to learn, which no inner step changes: under Reptile use a rule without, such "
                "as gradient descent with learned='fixed' or Adam, or use outer='gradient_descent'"
            )

    def init(self, adapter: Adapter, meta: Meta, generator: torch.Generator) -> State:
        """Return the count of steps."""
        return {"steps": 0}

    def improve(
        self, adapter: Adapter, meta: Meta, state: State, batch: Batch, generator: torch.Generator
    ) -> tuple[Outcome, State]:
        """Follow the inner steps for a fraction of their way."""
        if batch.adaptation is None:
            loss, mean = self._followed(adapter, meta, batch.experiences, batch.query, batch.count)
        else:
            loss, mean = self.reached(adapter, meta, batch.adaptation.adapted[-1], batch.query)
        return self.move(meta, state, batch, processes.mean(loss), processes.mean(mean))

    def improve_together(
        self,
        adapter: Adapter,
        metas: list[Meta],
        states: list[State],
        batches: list[Batch],
        generators: list[torch.Generator],
    ) -> list[tuple[Outcome, State] | NonFiniteError]:
        """Return what ``improve`` gives for each of several runs: one more batched axis, if they have not adapted already."""
        if batches[0].adaptation is not None or processes.count() > 1 or not of_one_shape(batches):
            return super().improve_together(adapter, metas, states, batches, generators)
        experiences, queries = ([getattr(batch, part) for batch in batches] for part in ("experiences", "query"))
        parts = stacked(metas), stacked(experiences), stacked(queries)
        losses, means = self._followed_of_runs(adapter, *parts, batches[0].count)
        results: list[tuple[Outcome, State] | NonFiniteError] = []
        for run in zip(metas, states, batches, losses, means, strict=True):
            try:
                results.append(self.move(*run))
            except NonFiniteError as error:
                results.append(error)
        return results

    def followed(self, adapter: Adapter, meta: Meta, experiences: list[Any], query: Any, count: int) -> tuple[Tensor, Tensor]:
        """Return what ``reached`` does of a replay of the adaptation; a pure function, which ``vmap`` takes."""
        with torch.no_grad():
            return self.reached(adapter, meta, adapter.replay(meta, experiences, count), query)

    def reached(self, adapter: Adapter, meta: Meta, adapted: Adapted, query: Any) -> tuple[Tensor, Tensor]:
        """Return the mean query loss, shape (), and the mean of the adapted parameters, shape (P,)."""
        with torch.no_grad():
            return adapter.losses(meta, adapted, query).mean(), adapted[0].mean(0)

    def move(self, meta: Meta, state: State, batch: Batch, loss: Tensor, mean: Tensor) -> tuple[Outcome, State]:
        """Return the outcome of going towards the mean of the adapted parameters, and the state after it.

        Raises:
            NonFiniteError: the loss or the mean is not finite.
        """
        direction = mean - meta["theta"]
        distance = direction.norm()
        require_finite("query loss or way of the inner steps", loss, distance)
        steps = state["steps"]
        fraction = self.fraction * (1.0 if self.anneal_over is None else max(0.0, 1 - steps / self.anneal_over))
        moved = {**meta, "theta": meta["theta"] + fraction * direction}
        # the paper takes the way for a gradient
        metrics: dict[str, float | Tensor] = {"fraction": fraction, "gradient_norm": distance}
        return Outcome(moved, loss, batch.adaptation, batch.query, metrics), {"steps": steps + 1}
