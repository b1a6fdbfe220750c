"""A published table as data: rows, each a run and what is read from it, and what is derived from that."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from metarl.commands.costs import Cost, Spent
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
        total: whether it is the sum of what was measured after each number of steps up to ``step``, such as what the episodes
            of a trial earned together.
        cost: what is read of the agent's costs instead of a score; see ``metarl.commands.costs``.
        comparable: whether our number and the published one are in the same unit.
    """

    name: str
    paper: float | None = None
    paper_ci: float | None = None
    exam: Exam | None = Exam()
    step: int = -1
    statistic: Literal["mean", "median"] = "mean"
    unit: float = 1.0
    total: bool = False
    cost: Cost | Spent | None = None
    comparable: bool = True


@dataclass(frozen=True)
class Row:
    """A run and its cells.

    Attributes:
        name: of the run; ``metarl train TABLE/NAME`` trains it.
        settings: of the run, as a preset's.
        cells: what is read from it.
        reading: how it is measured, where it is not trained and evaluated as others are, and the table does not say.
        minutes: of one core's time that it has to learn in, at scale 1; as the table says unless given.
    """

    name: str
    settings: Settings
    cells: tuple[Cell, ...]
    reading: "Reading | None" = None
    minutes: float | None = None


@dataclass(frozen=True)
class Difference:
    """One cell minus another, seed by seed, and task by task where both have the same tasks.

    Attributes:
        name: in the report.
        minuend: the first cell's name.
        subtrahend: the second's.
        paper: the published difference; None where there is none.
        not_below: what it must not fall below, whatever the paper's is.
        relative: whether it is in percent of the second cell.
    """

    name: str
    minuend: str
    subtrahend: str
    paper: float | None = None
    not_below: float = 0.0
    relative: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The cells that it is worked out from."""
        return self.minuend, self.subtrahend

    def of(self, minuend: "Measured", subtrahend: "Measured") -> "Measured":
        """Return it for one seed."""
        return minuend.relative_to(subtrahend) if self.relative else minuend.minus(subtrahend)


@dataclass(frozen=True)
class Share:
    """How far one cell has come on the way from another to a third, in percent, seed by seed.

    Attributes:
        name: in the report.
        reached: the cell's name.
        start: where the way begins, such as the return before adaptation.
        goal: where it ends, such as an oracle's return.
        paper: the published share; None where there is none.
    """

    name: str
    reached: str
    start: str
    goal: str
    paper: float | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """The cells that it is worked out from."""
        return self.reached, self.start, self.goal

    def of(self, reached: "Measured", start: "Measured", goal: "Measured") -> "Measured":
        """Return it for one seed."""
        return reached.minus(start).percent_of(goal.minus(start))


Derived = Difference | Share


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
        column = evaluation.steps.index(cell.step) if cell.step >= 0 else len(evaluation.steps) - 1
        values = cell.unit * (evaluation.values[:, : column + 1].sum(1) if cell.total else evaluation.values[:, column])
        if cell.statistic == "median":
            return cls(float(np.median(values)), stopped=stopped)
        return replace(cls.over(values), stopped=stopped)

    @classmethod
    def over(cls, values: NDArray[np.float64]) -> "Measured":
        """Return the mean over tasks, shape (tasks,), with its interval, which is not a number for a single task."""
        half = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
        return cls(float(values.mean()), float(half), tuple(values.tolist()))

    def minus(self, other: "Measured") -> "Measured":
        """Return the difference, with the interval of the differences between tasks if both have the same tasks."""
        if not self.values or len(self.values) != len(other.values):
            return Measured(self.mean - other.mean)
        return Measured.over(np.subtract(self.values, other.values))

    def percent_of(self, other: "Measured") -> "Measured":
        """Return the ratio of the means in percent, with its interval if both have the same tasks.

        The interval is the delta method's: of the mean of what the ratio leaves of each task, over the mean below the line.
        """
        ratio = self.mean / other.mean if other.mean else float("nan")
        if not self.values or len(self.values) != len(other.values) or not np.isfinite(ratio):
            return Measured(100 * ratio)
        left = Measured.over(np.subtract(self.values, ratio * np.array(other.values)))
        assert left.ci95 is not None
        return Measured(100 * ratio, 100 * left.ci95 / abs(other.mean))

    def relative_to(self, other: "Measured") -> "Measured":
        """Return the difference in percent of the other."""
        return self.minus(other).percent_of(other)


Numbers = dict[str, Measured]
"""By cell."""
Reading = Callable[["Row", "Run", float], Numbers]
"""Measures a row that reads no evaluations, by its run with a seed and the scale."""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: what it shows, of which publication.
        rows: runs, and what is derived from their cells, in the order of the report.
        higher_is_better: whether its numbers are returns or accuracies rather than losses.
        interval: whether the report's intervals are over tasks or over seeds.
        seeds: runs of each row unless given.
        scale: the fraction of the runs' iterations unless given: what ends within an hour on two cores.
        seeds_at_once: how many seeds train side by side on a CPU, as many as have room in its cache; on a GPU all, if above 1.
        needs_root: whether its environments read data from the folder ``--root``.
        validations: at least so many in a run, however short its scale makes it; 0 to keep each run's own rhythm.
        compiled_from: the scale below which nothing is compiled: it would take longer than it saves.
        minutes: of one core's time that every run has to learn in, at scale 1; None where iterations end a run. A row may say
            otherwise.
        columns: its cells are printed as a matrix of these columns; a cell's name is the line's, a comma and the column's.
        reading: how its rows are measured, where it is not by evaluations and they do not say themselves.
        picture: draws the report's rows; None where there is no picture.
    """

    title: str
    rows: Sequence[Row | Derived]
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

    def reading_of(self, row: Row) -> Reading | None:
        """Return how a row is measured; None where it is trained and evaluated."""
        return row.reading or self.reading

    def minutes_of(self, row: Row) -> float | None:
        """Return the minutes that a row has to learn in, at scale 1; None where iterations end it."""
        return self.minutes if row.minutes is None else row.minutes

    def cells(self) -> Iterator[tuple[str, Cell | Derived]]:
        """Yield every cell with its run's name, empty for what is derived from cells, in the order of the report."""
        for row in self.rows:
            if isinstance(row, Row):
                yield from ((row.name, cell) for cell in row.cells)
            else:
                yield "", row


def verdict(cell: Cell | Derived, ours: float, ours_ci: float, higher_is_better: bool) -> str:
    """Return how our number stands to the paper's, or a difference to the bar that it must not fall below."""
    if isinstance(cell, Difference):
        if ours >= cell.not_below:
            return f"not below {cell.not_below:g}"
        within = cell.not_below - ours <= ours_ci
        return f"not told apart from {cell.not_below:g}" if within else f"below {cell.not_below:g}"
    if cell.paper is None:
        return "a cost" if isinstance(cell, Cell) and cell.cost is not None else "no published number"
    if isinstance(cell, Cell) and not cell.comparable:
        return "not comparable in value"
    better_by = ours - cell.paper if higher_is_better or isinstance(cell, Share) else cell.paper - ours
    if better_by >= 0:
        return "at least the paper's"
    if isinstance(cell, Cell) and cell.paper_ci is not None and -better_by <= cell.paper_ci:
        return "within the paper's interval"
    return f"short by {-better_by:.2f}"


def by_cell(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the rows of a report by their cells' names, without the scale."""
    return {row["cell"].split(" (scale")[0]: row for row in rows}
