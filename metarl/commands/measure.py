"""Measuring a row of a table: its run is trained, at a fraction of its length, and its cells are read."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from math import nan
from time import process_time
from typing import Any, NamedTuple, TypeVar

from metarl.commands.costs import Cost, costs
from metarl.commands.run import Run
from metarl.commands.table import Exam, Measured, Numbers, Row, Table
from metarl.errors import NonFiniteError

Result = TypeVar("Result")


class Learned(NamedTuple):
    """How a run went.

    Attributes:
        stopped: whether a loss that was not finite ended it.
        minutes: of processor time; not a number of seeds side by side.
    """

    stopped: bool = False
    minutes: float = nan


def measure(table: Table, row: Row, seeds: Sequence[int], scale: float, root: str) -> list[Numbers]:
    """Return the numbers of a row for each of some seeds.

    Args:
        table: the table.
        row: one of its rows.
        seeds: trained side by side if the table says so, else one after the other.
        scale: the fraction of the run's iterations.
        root: the folder of image data sets, for the tables that need one.
    """
    runs = [run_of(table, row, seed, scale, root) for seed in seeds]
    reading, minutes = table.reading_of(row), table.minutes_of(row)
    if reading is not None:
        return [reading(row, run, scale) for run in runs]
    every = _validate_every(table, runs[0])
    with ExitStack() as stack:
        agents = [stack.enter_context(closing(run.make())) for run in runs]
        if table.seeds_at_once > 1:
            from metarl.agents import learn_side_by_side

            tasks = runs[0].validation_tasks
            taken = learn_side_by_side(agents, runs[0].iterations, validate_every=every, validation_tasks=tasks)
            learned = [Learned(iterations < run.iterations) for iterations, run in zip(taken, runs, strict=True)]
        else:
            limit = None if minutes is None else scale * minutes
            learned = [_learn(agent, run, every, limit) for agent, run in zip(agents, runs, strict=True)]
        return [read(agent, row, how, table, root) for agent, how in zip(agents, learned, strict=True)]


def run_of(table: Table, row: Row, seed: int, scale: float, root: str = "") -> Run:
    """Return a row's run with a seed, at a fraction of its length."""
    changes: dict[str, Any] = {"seed": seed, **({"root": root} if table.needs_root else {})}
    if scale < table.compiled_from:
        changes["gradient.compile"] = False
    run = Run.of(row.settings, **changes)
    return run if table.minutes_of(row) is not None else replace(run, iterations=max(1, round(run.iterations * scale)))


def read(agent: Any, row: Row, learned: Learned, table: Table, root: str) -> Numbers:
    """Return what a row's cells say of a trained agent, at its best validation if there was one."""
    numbers: Numbers = {}
    stopped = learned.stopped
    evaluations: list[tuple[Exam, Any]] = []
    measured_costs: list[tuple[Exam, Mapping[Cost, float]]] = []
    for cell in row.cells:
        if cell.exam is None:
            numbers[cell.name] = Measured(_best(agent), stopped=stopped)
            continue
        if cell.cost == "minutes" or cell.cost == "million steps":
            spent = learned.minutes if cell.cost == "minutes" else agent.num_timesteps / 1e6
            numbers[cell.name] = Measured(spent, stopped=stopped)
            continue
        if cell.cost is not None:
            found = _once(measured_costs, cell.exam, lambda exam: costs(agent, exam))
            numbers[cell.name] = Measured(found[cell.cost], stopped=stopped)
            continue
        evaluation = _once(evaluations, cell.exam, lambda exam: _evaluate(agent.restore_best(), exam, table, root))
        numbers[cell.name] = Measured.of(evaluation, cell, stopped)
    return numbers


def _once(kept: list[tuple[Exam, Result]], exam: Exam, sit: Callable[[Exam], Result]) -> Result:
    """Return what an exam gave, which is sat now if it was not yet."""
    for other, result in kept:
        if other == exam:
            return result
    kept.append((exam, sit(exam)))
    return kept[-1][1]


def _learn(agent: Any, run: Run, validate_every: int, minutes: float | None) -> Learned:
    """Let an agent learn; return how that went."""
    from metarl.agents.callbacks import StopAfter

    started = process_time()
    try:
        agent.learn(
            run.iterations,
            callback=None if minutes is None else StopAfter(minutes),
            log_interval=run.iterations + 1,
            validate_every=validate_every,
            validation_tasks=run.validation_tasks,
        )
    except NonFiniteError:
        return Learned(True, (process_time() - started) / 60)
    return Learned(False, (process_time() - started) / 60)


def _validate_every(table: Table, run: Run) -> int:
    if not table.validations or not run.validate_every:
        return run.validate_every
    return min(run.validate_every, max(1, run.iterations // table.validations))


def _evaluate(agent: Any, exam: Exam, table: Table, root: str) -> Any:
    kwargs = dict(exam.env_kwargs)
    if exam.env is not None and table.needs_root:
        kwargs["root"] = root
    if exam.instances:
        return agent.accuracy_by_instance(exam.tasks, exam.instances, env_kwargs=kwargs)
    return agent.evaluate(exam.tasks, exam.steps, repeats=exam.repeats, env=exam.env, env_kwargs=kwargs or None)


def _best(agent: Any) -> float:
    """Return the best validation score in the problem's own metric; the worst there is without a validation."""
    sign: int = agent.adapter.problem.sign
    return sign * (float("-inf") if agent.best is None else float(agent.best["score"]))
