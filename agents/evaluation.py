"""What an evaluation found: one figure for every task and number of inner steps."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Evaluation:
    """Returns or losses on unseen tasks.

    Attributes:
        figure: ``"return"`` or ``"loss"``.
        values: per task, after 0, 1, ... inner steps, shape (tasks, steps + 1).
    """

    figure: str
    values: NDArray[np.float64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """The means over tasks after 0, 1, ... inner steps."""
        mean: NDArray[np.float64] = self.values.mean(axis=0)
        return mean

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
            "mean": [round(float(value), 6) for value in self.mean],
            "ci95": [round(float(value), 6) for value in self.ci95],
        }

    def __str__(self) -> str:
        known = "mean and 95% confidence interval" if len(self.values) > 1 else "one task has no confidence interval"
        lines = [f"{self.figure} on {len(self.values)} unseen task{'s' * (len(self.values) > 1)} ({known})"]
        for step, (mean, half) in enumerate(zip(self.mean, self.ci95, strict=True)):
            interval = f" +- {half:.3f}" if np.isfinite(half) else ""
            lines.append(f"  after {step} inner step{'s' if step != 1 else ' '}: {mean:9.3f}{interval}")
        return "\n".join(lines)
