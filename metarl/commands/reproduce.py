"""metarl reproduce: run a published table, and print the paper's numbers beside ours, cell by cell."""

import json
import shlex
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import tyro

from metarl.commands import report
from metarl.commands.table import Measured, Row, Table
from metarl.errors import ConfigError, require_positive
from metarl.files import require_folder, whole
from metarl.registry import TABLES

Results = dict[tuple[str, int], dict[str, Measured]]
"""Numbers by cell, for every run and seed."""


@dataclass(frozen=True)
class Reproduce:
    """Run a published table."""

    table: tyro.conf.Positional[str]
    """Its name; `metarl list tables` shows all."""
    seeds: int | None = None
    """Independent runs of each row; the table's own number (3 for most) unless given."""
    first_seed: int = 0
    """The first run's seed; the others follow."""
    scale: float | None = None
    """The fraction of the paper's iterations; below 1 every row says so. Unless given the table's own: 1, or what ends within
    an hour on two cores where the whole takes many."""
    only: str = ""
    """Only runs whose name contains this, such as 'T=1, ' (which T=10 does not); or one of several, as in 'MAML|TURTLE';
    `metarl list TABLE` names them."""
    root: str = "data"
    """The folder of the image data sets that a table needs."""
    jobs: int = 0
    """Runs side by side, each on one core; 0 for one a core."""
    json: str = ""
    """Write the table to a file too. Finished runs wait beside it in FILE.partial: the same command, given again after it was
    stopped, measures only the rest."""
    picture: str = ""
    """Draw the table to a file, if it has a picture."""


@dataclass(frozen=True)
class Settled(Reproduce):
    """The same, with the table's own seeds and scale where none were given."""

    seeds: int = 3
    scale: float = 1.0


def main(arguments: list[str]) -> int:
    """Run the command."""
    asked = tyro.cli(Reproduce, args=arguments, prog="metarl reproduce")
    TABLES[asked.table]  # an unknown name is said before anything is imported
    table: Table = TABLES.load(asked.table)
    seeds = table.seeds if asked.seeds is None else asked.seeds
    scale = table.scale if asked.scale is None else asked.scale
    require_positive(seeds=seeds, scale=scale)
    settled = Settled(**{**vars(asked), "seeds": seeds, "scale": scale})
    for name in ("json", "picture"):
        if getattr(asked, name):
            require_folder(name, getattr(asked, name))
    if asked.picture and table.picture is None:
        raise ConfigError(f"picture={asked.picture}: {asked.table} has none")
    started = perf_counter()
    rows = [row for row in table.runs() if any(part in row.name for part in asked.only.split("|"))]
    if not rows:
        names = ", ".join(row.name for row in table.runs())
        raise ConfigError(f"only={asked.only!r} leaves no row of {asked.table}; rows: {names}")
    if table.needs_root:
        require_data(rows, asked.root)
    results, earlier = _finished(settled)
    started -= earlier
    _measure(table, rows, settled, results, started)
    wanted = range(settled.first_seed, settled.first_seed + seeds)
    numbers = {cell.name: [results[row.name, seed][cell.name] for seed in wanted] for row in rows for cell in row.cells}
    lines = report.rows_of(table, numbers, scale)
    seconds = perf_counter() - started
    report.show(table, lines, seconds)
    if asked.json:
        command = shlex.join(["metarl", "reproduce", *arguments])
        content = {"table": asked.table, "rows": lines, "command": command, "seconds": round(seconds, 1)}
        with whole(asked.json) as path:
            path.write_text(json.dumps(content, indent=2) + "\n")
        if set(results) <= {(row.name, seed) for row in rows for seed in wanted}:
            _partial(settled).unlink(missing_ok=True)  # else it holds runs that this command did not ask for
    if asked.picture and table.picture is not None:
        table.picture(lines, scale).savefig(asked.picture, dpi=120)
    return 0


def require_data(rows: Sequence[Row], root: str) -> None:
    """Make the environments of some rows once: what data is missing is said, and what is new decoded, before the work."""
    import gymnasium

    import metarl  # noqa: F401 - registers the ids

    envs = {str(row.settings["env"]) for row in rows}
    envs |= {cell.exam.env for row in rows for cell in row.cells if cell.exam is not None and cell.exam.env is not None}
    for env in sorted(envs):
        gymnasium.make(env, root=root).close()


def parts(table: Table, seeds: range) -> list[range]:
    """Return the seeds in the parts that are measured together: one by one, unless the table trains seeds side by side."""
    size = table.seeds_at_once
    if size > 1:
        import torch

        size = len(seeds) if torch.cuda.is_available() else size
    return [seeds[start : start + size] for start in range(0, len(seeds), size)]


def _measure(table: Table, rows: Sequence[Row], asked: Settled, results: Results, started: float) -> None:
    """Measure every row with every seed that is not among the results, side by side, and put its numbers there."""
    import torch

    from metarl.progress import Meter

    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    work = [
        (row, left)
        for part in parts(table, seeds)
        for row in rows
        if (left := [s for s in part if (row.name, s) not in results])
    ]
    total, missing = len(rows) * asked.seeds, sum(len(part) for _, part in work)
    jobs = min(asked.jobs or torch.get_num_threads(), max(1, len(work)))
    with (
        Meter(total, done=total - missing) as meter,
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        futures = {pool.submit(measured, table, row, part, asked.scale, asked.root): (row, part) for row, part in work}
        try:
            for future in as_completed(futures):
                row, part = futures[future]
                results |= {(row.name, seed): numbers for seed, numbers in zip(part, future.result(), strict=True)}
                meter.advance(len(part), f"{asked.table}: {row.name} done")
                _keep(asked, results, perf_counter() - started)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def measured(table: Table, row: Row, seeds: Sequence[int], scale: float, root: str) -> list[dict[str, Measured]]:
    """Measure one row with some seeds, in a process of the pool."""
    from metarl.commands.measure import measure

    return measure(table, row, seeds, scale, root)


def _partial(asked: Settled) -> Path:
    return Path(f"{asked.json}.partial")


def _keep(asked: Settled, results: Results, seconds: float) -> None:
    """Write what is finished, so that a command that was stopped goes on from there."""
    if asked.json:
        rows = [[name, seed, {cell: asdict(one) for cell, one in numbers.items()}] for (name, seed), numbers in results.items()]
        with whole(_partial(asked)) as path:
            path.write_text(json.dumps({"table": asked.table, "scale": asked.scale, "seconds": seconds, "finished": rows}))


def _finished(asked: Settled) -> tuple[Results, float]:
    """Return what an earlier command with the same table, scale and file had finished, and the seconds it took."""
    if not asked.json or not _partial(asked).exists():
        return {}, 0.0
    try:
        kept = json.loads(_partial(asked).read_text())
        rows = kept["finished"] if (kept["table"], kept["scale"]) == (asked.table, asked.scale) else None
    except (ValueError, KeyError, TypeError):
        rows = None
    if rows is None:
        raise ConfigError(
            f"json={asked.json}: {_partial(asked)} is of another table or scale; remove it, or write to another file"
        )
    results = {(name, seed): {cell: Measured(**one) for cell, one in numbers.items()} for name, seed, numbers in rows}
    return results, float(kept.get("seconds", 0.0))
