"""Evaluation: what an adapter makes of unseen tasks, one number for every task and number of inner steps."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metarl import processes
from metarl.adapters.base import Adaptation, Adapter, Meta
from metarl.problems.base import SUCCESS, Tasks

STATISTICS = {
    "batch": "the statistics of the set at hand (transductive)",
    "support": "the statistics of the support set",
    "running": "running averages over training",
}
FEW = 20
"""Inner steps up to which every one is measured."""


@dataclass(frozen=True)
class Evaluation:
    """Returns, accuracies or losses on unseen tasks.

    Attributes:
        metric: ``"return"``, ``"accuracy"`` or ``"loss"``.
        values: per task, after each of ``steps``, shape (tasks, measured steps).
        steps: the numbers of inner steps: 0, 1, ..., or some of them where there are many; (0,) where there are none.
        batch_norm: whose statistics batch-normalisation used; None without it.
        stage: what ``steps`` counts, ``"inner step"``; ``"support set"`` where adapting is one look at it; ``"instance"`` where
            ``steps`` are the first, second, ... presentation of a class; ``"episode"`` where they are those of a trial that
            came before the one that was measured.
        success: the success rates of the same trajectories, as an evaluation of its own; None where the environment does not
            say whether a task is done.
    """

    metric: str
    values: NDArray[np.float64]
    steps: tuple[int, ...]
    batch_norm: str | None = None
    stage: str = "inner step"
    success: "Evaluation | None" = None

    @property
    def mean(self) -> NDArray[np.float64]:
        """The means over tasks after each of ``steps``."""
        mean: NDArray[np.float64] = self.values.mean(axis=0)
        return mean

    @property
    def median(self) -> NDArray[np.float64]:
        """The medians over tasks after each of ``steps``."""
        median: NDArray[np.float64] = np.median(self.values, axis=0)
        return median

    @property
    def ci95(self) -> NDArray[np.float64]:
        """Half the widths of the means' 95% confidence intervals over tasks (1.96 standard errors)."""
        if len(self.values) < 2:
            return np.full(self.values.shape[1], np.nan)
        half: NDArray[np.float64] = 1.96 * self.values.std(axis=0, ddof=1) / math.sqrt(len(self.values))
        return half

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers, for JSON."""
        return {
            "metric": self.metric,
            "tasks": len(self.values),
            "stage": self.stage,
            "steps": list(self.steps),
            "mean": [round(float(value), 6) for value in self.mean],
            "ci95": [round(float(value), 6) for value in self.ci95],
            "median": [round(float(value), 6) for value in self.median],
            "batch_norm": self.batch_norm,
            **({} if self.success is None else {SUCCESS: self.success.as_dict()}),
        }

    def __str__(self) -> str:
        known = "mean and 95% confidence interval" if len(self.values) > 1 else "one task has no confidence interval"
        lines = [f"{self.metric} on {len(self.values)} unseen task{'s' * (len(self.values) > 1)} ({known})"]
        for step, mean, half, median in zip(self.steps, self.mean, self.ci95, self.median, strict=True):
            interval = f" +- {half:.3f}, median {median:.3f}" if np.isfinite(half) else ""
            lines.append(f"  {self._when(step)}: {mean:9.3f}{interval}")
        if self.batch_norm is not None:
            lines.append(f"  batch-normalisation with {STATISTICS[self.batch_norm]}")
        if self.success is not None:
            lines.append(str(self.success))
        return "\n".join(lines)

    def _when(self, step: int) -> str:
        if self.stage == "inner step":
            return f"after {step} inner step{'s' if step != 1 else ' '}"
        if self.stage == "episode":
            return f"in episode {step + 1}"
        return f"at {self.stage} {step}" if self.stage == "instance" else f"after the {self.stage}"


def measured_steps(steps: int) -> list[int]:
    """Return after which numbers of inner steps is measured: 0, 1, ... up to 20, else eleven evenly spaced ones."""
    return list(range(steps + 1)) if steps <= FEW else sorted({round(i * steps / 10) for i in range(11)})


def measure_steps(adapter: Adapter, meta: Meta, adaptation: Adaptation, query: Any) -> list[dict[str, Tensor]]:
    """Return the problem's measures after each of ``measured_steps``, each of shape (tasks,).

    A policy is judged by the trajectories that it sampled itself, a predictor by the query set throughout.
    """
    states, problem = adaptation.adapted, adapter.problem
    experiences = [*adaptation.experiences, query] if problem.on_policy else [query] * len(states)
    return [adapter.measure(meta, states[step], experiences[step]) for step in measured_steps(len(states) - 1)]


def by_instance(values: Tensor, targets: Tensor) -> Tensor:
    """Return means over the classes at their first, second, ... presentation, shape (tasks, instances).

    Args:
        values: of the examples of a sequence, such as whether they were predicted, shape (tasks, examples).
        targets: their classes, of as many examples each, shape (tasks, examples).
    """
    order = targets.argsort(dim=1, stable=True)  # class by class, in the order of presentation within each
    classes = int(targets.max()) + 1
    return values.gather(1, order).view(len(values), classes, -1).mean(1)


def evaluate(
    adapter: Adapter, meta: Meta, batches: Iterable[Tasks], generator: torch.Generator, steps: int | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return the metric, by name, of every task after each of the measured steps, shape (tasks, measured steps).

    Where environments say whether a task is done, the success rates too.

    Args:
        adapter: adapts to the tasks, and judges itself by their query experience.
        meta: the meta-parameters.
        batches: the tasks, some at a time.
        generator: the source of noise.
        steps: inner steps, if other than in training.
    """
    rows: dict[str, list[Tensor]] = {}
    with torch.no_grad(), processes.alone():
        for tasks in batches:
            adaptation = adapter.adapt(meta, tasks, generator, steps)
            query = adapter.collect(meta, adaptation.adapted[-1], tasks, generator)
            measures = measure_steps(adapter, meta, adaptation, query)
            for name in (adapter.problem.metric, SUCCESS):
                if name in measures[0]:
                    rows.setdefault(name, []).append(torch.stack([measure[name] for measure in measures], dim=1))
    return {name: torch.cat(parts).double().cpu().numpy() for name, parts in rows.items()}
