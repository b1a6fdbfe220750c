"""A published table as data: rows, each a run and what is read from it, and differences between what was read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from metarl.commands.costs import Cost
from metarl.commands.settings import Settings
from metarl.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from metarl.commands.run import Run
    from metarl.evaluation import Evaluation


@dataclass(frozen=True)
class Exam:
    """What a trained agent is measured by: an evaluation on unseen test tasks.

    Attributes:
        tasks: how many.
        steps: inner steps; as many as in training unless given.
        env: another family to test on; the trained one unless given.
        env_kwargs: the environment's arguments where they differ from training; all of another family's.
        repeats: adaptations to each task with new data.
        instances: of each class in a sequence, of a memory learner whose accuracy by instance is wanted; 0 for an evaluation.
    """

    tasks: int = 600
    steps: int | None = None
    env: str | None = None
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    repeats: int = 1
    instances: int = 0


@dataclass(frozen=True)
class Cell:
    """What is read from a run, and the published number.

    Attributes:
        name: in the report.
        paper: the published number; None where there is none.
        paper_ci: half its published 95% interval.
        exam: the evaluation that it is read from; None for the best validation score.
        step: after how many inner steps, or at which instance of a class; -1 for the last.
        statistic: over tasks.
        unit: what it is multiplied with: 100 for percent.
        cost: what is read of the agent's costs instead of a score; see ``metarl.commands.costs``.
    """

    name: str
    paper: float | None = None
    paper_ci: float | None = None
    exam: Exam | None = Exam()
    step: int = -1
    statistic: Literal["mean", "median"] = "mean"
    unit: float = 1.0
    cost: Cost | None = None


@dataclass(frozen=True)
class Row:
    """A run and its cells.

    Attributes:
        name: of the run; ``metarl train TABLE/NAME`` trains it.
        settings: of the run, as a preset's.
        cells: what is read from it.
    """

    name: str
    settings: Settings
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Difference:
    """One cell minus another, seed by seed, and task by task where both have the same tasks.

    Attributes:
        name: in the report.
        minuend: the first cell's name.
        subtrahend: the second's.
        paper: the published difference; None where there is none.
        not_below: what it must not fall below, whatever the paper's is.
    """

    name: str
    minuend: str
    subtrahend: str
    paper: float | None = None
    not_below: float = 0.0


@dataclass(frozen=True)
class Measured:
    """A cell's number from one seed.

    Attributes:
        mean: over tasks; in truth the median where the cell wants it.
        ci95: half its 95% interval; None where it is not known.
        values: of every task; empty where they are not kept.
        stopped: whether the run ended early because a loss was not finite; the number is of what it had learned until then.
    """

    mean: float
    ci95: float | None = None
    values: tuple[float, ...] = ()
    stopped: bool = False

    @classmethod
    def of(cls, evaluation: "Evaluation", cell: Cell, stopped: bool = False) -> "Measured":
        """Return what a cell reads from an evaluation.

        Raises:
            ConfigError: the evaluation did not measure after that many steps.
        """
        if cell.step >= 0 and cell.step not in evaluation.steps:
            raise ConfigError(f"step={cell.step} of {cell.name!r} was not measured: measured were {evaluation.steps}")
        column = evaluation.steps.index(cell.step) if cell.step >= 0 else -1
        values = evaluation.values[:, column]
        if cell.statistic == "median":
            return cls(cell.unit * float(np.median(values)), stopped=stopped)
        mean, half = cell.unit * float(values.mean()), cell.unit * float(evaluation.ci95[column])
        return cls(mean, half, tuple(cell.unit * float(value) for value in values), stopped)

    def minus(self, other: "Measured") -> "Measured":
        """Return the difference, with the interval of the differences between tasks if both have the same tasks."""
        if not self.values or len(self.values) != len(other.values):
            return Measured(self.mean - other.mean)
        differences = np.subtract(self.values, other.values)
        half = 1.96 * differences.std(ddof=1) / np.sqrt(len(differences))
        return Measured(float(differences.mean()), float(half), tuple(differences.tolist()))


Numbers = dict[str, Measured]
"""By cell."""
Reading = Callable[["Row", "Run", float], Numbers]
"""Measures a row of a table that reads no evaluations, by its run with a seed and the scale."""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: what it shows, of which publication.
        rows: runs and differences, in the order of the report.
        higher_is_better: whether its numbers are returns or accuracies rather than losses.
        interval: whether the report's intervals are over tasks or over seeds.
        seeds: runs of each row unless given.
        scale: the fraction of the runs' iterations unless given: what ends within an hour on two cores.
        seeds_at_once: how many seeds train side by side on a CPU, as many as have room in its cache; on a GPU all, if above 1.
        needs_root: whether its environments read data from the folder ``--root``.
        validations: at least so many in a run, however short its scale makes it; 0 to keep each run's own rhythm.
        compiled_from: the scale below which nothing is compiled: it would take longer than it saves.
        minutes: of one core's time that every run has to learn in, at scale 1; None where iterations end a run.
        columns: its cells are printed as a matrix of these columns; a cell's name is the line's, a comma and the column's.
        reading: how its rows are measured, where it is not by evaluations.
        picture: draws the report's rows; None where there is no picture.
    """

    title: str
    rows: Sequence[Row | Difference]
    higher_is_better: bool = False
    interval: Literal["tasks", "seeds"] = "tasks"
    seeds: int = 3
    scale: float = 1.0
    seeds_at_once: int = 1
    needs_root: bool = False
    validations: int = 0
    compiled_from: float = 0.0
    minutes: float | None = None
    columns: Sequence[str] = ()
    reading: Reading | None = None
    picture: "Callable[[list[dict[str, Any]], float], Figure] | None" = None

    def runs(self) -> list[Row]:
        """Return the rows that are runs."""
        return [row for row in self.rows if isinstance(row, Row)]

    def row(self, name: str) -> Row:
        """Return a run's row.

        Raises:
            ConfigError: there is none of this name.
        """
        rows = {row.name: row for row in self.runs()}
        if name not in rows:
            raise unknown_name("row", name, rows)
        return rows[name]

    def cells(self) -> Iterator[tuple[str, Cell | Difference]]:
        """Yield every cell and difference with its run's name, empty for a difference, in the order of the report."""
        for row in self.rows:
            if isinstance(row, Difference):
                yield "", row
            else:
                yield from ((row.name, cell) for cell in row.cells)


def verdict(cell: Cell | Difference, ours: float, ours_ci: float, higher_is_better: bool) -> str:
    """Return how our number stands to the paper's, or a difference to the bar that it must not fall below."""
    if isinstance(cell, Difference):
        if ours >= cell.not_below:
            return f"not below {cell.not_below:g}"
        within = cell.not_below - ours <= ours_ci
        return f"not told apart from {cell.not_below:g}" if within else f"below {cell.not_below:g}"
    if cell.paper is None:
        return "a cost" if cell.cost is not None else "no published number"
    better_by = ours - cell.paper if higher_is_better else cell.paper - ours
    if better_by >= 0:
        return "at least the paper's"
    if cell.paper_ci is not None and -better_by <= cell.paper_ci:
        return "within the paper's interval"
    return f"short by {-better_by:.2f}"


def by_cell(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the rows of a report by their cells' names, without the scale."""
    return {row["cell"].split(" (scale")[0]: row for row in rows}
