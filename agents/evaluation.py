"""What an evaluation found: one figure for every task and number of inner steps."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STATISTICS = {
    "batch": "the statistics of the set at hand (transductive)",
    "support": "the statistics of the support set",
    "running": "running averages over training",
}


@dataclass(frozen=True)
class Evaluation:
    """Returns, accuracies or losses on unseen tasks.

    Attributes:
        figure: ``"return"``, ``"accuracy"`` or ``"loss"``.
        values: per task, after each of ``steps``, shape (tasks, measured steps).
        steps: the numbers of inner steps: 0, 1, ..., or some of them where there are many.
        batch_norm: whose statistics batch-normalisation used; None without it.
    """

    figure: str
    values: NDArray[np.float64]
    steps: tuple[int, ...]
    batch_norm: str | None = None

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
            "figure": self.figure,
            "tasks": len(self.values),
            "steps": list(self.steps),
            "mean": [round(float(value), 6) for value in self.mean],
            "ci95": [round(float(value), 6) for value in self.ci95],
            "median": [round(float(value), 6) for value in self.median],
            "batch_norm": self.batch_norm,
        }

    def __str__(self) -> str:
        known = "mean and 95% confidence interval" if len(self.values) > 1 else "one task has no confidence interval"
        lines = [f"{self.figure} on {len(self.values)} unseen task{'s' * (len(self.values) > 1)} ({known})"]
        for step, mean, half, median in zip(self.steps, self.mean, self.ci95, self.median, strict=True):
            interval = f" +- {half:.3f}, median {median:.3f}" if np.isfinite(half) else ""
            lines.append(f"  after {step} inner step{'s' if step != 1 else ' '}: {mean:9.3f}{interval}")
        if self.batch_norm is not None:
            lines.append(f"  batch-normalisation with {STATISTICS[self.batch_norm]}")
        return "\n".join(lines)
