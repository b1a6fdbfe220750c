"""A cell of a published table, and what we measured for it."""

from dataclasses import dataclass

import numpy as np

from metarl.agents import Evaluation


@dataclass(frozen=True)
class Measured:
    """One seed's figure: the mean over tasks, half its 95% interval where it is known, and each task's own where it is kept."""

    mean: float
    ci95: float | None = None
    values: tuple[float, ...] = ()
    stopped: bool = False
    """Whether the run ended early because a loss was not finite; the figure is of what it had learned until then."""

    @classmethod
    def of(cls, evaluation: Evaluation, step: int, unit: float = 1.0) -> "Measured":
        """Return the figure after a number of inner steps; -1 for the last. ``unit`` is 100 for percent."""
        values = tuple(unit * float(value) for value in evaluation.values[:, step])
        return cls(unit * float(evaluation.mean[step]), unit * float(evaluation.ci95[step]), values)

    def minus(self, other: "Measured") -> "Measured":
        """Return the difference, with the interval of the differences between tasks if both have the same tasks."""
        if not self.values or len(self.values) != len(other.values):
            return Measured(self.mean - other.mean)
        differences = np.subtract(self.values, other.values)
        half = 1.96 * differences.std(ddof=1) / np.sqrt(len(differences))
        return Measured(float(differences.mean()), float(half), tuple(differences.tolist()))


@dataclass(frozen=True)
class Cell:
    """A cell.

    Attributes:
        run_name: the training run that the cell is read from.
        name: the cell's own name.
        paper: the published figure; None where there is none.
        paper_ci: half the published 95% interval.
        higher_is_better: whether it is a return rather than a loss.
        not_below: for a difference, what it must not fall below, whatever the paper's is.
        difference: two other cells, by name: this one is the first minus the second, seed by seed.
    """

    run_name: str
    name: str
    paper: float | None = None
    paper_ci: float | None = None
    higher_is_better: bool = False
    not_below: float | None = None
    difference: tuple[str, str] | None = None

    def verdict(self, ours: float, ours_ci: float = 0.0) -> str:
        """Return how our figure stands to the paper's, or to the bar that it must not fall below."""
        if self.not_below is not None:
            if ours >= self.not_below:
                return f"not below {self.not_below:g}"
            within = self.not_below - ours <= ours_ci
            return f"not told apart from {self.not_below:g}" if within else f"below {self.not_below:g}"
        if self.paper is None:
            return "no published figure"
        gain = ours - self.paper if self.higher_is_better else self.paper - ours
        if gain >= 0:
            return "at least the paper's"
        if self.paper_ci is not None and -gain <= self.paper_ci:
            return "within the paper's interval"
        return f"short by {-gain:.2f}"
