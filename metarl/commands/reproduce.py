"""metarl reproduce: run a published table, and print the paper's numbers beside ours, cell by cell."""

import difflib
import json
import os
import shlex
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from time import perf_counter

import tyro

from metarl.commands import printing
from metarl.commands.table import Measured, Numbers, Row, Table
from metarl.errors import ConfigError, require_positive
from metarl.files import require_folder, whole
from metarl.registry import TABLES

Results = dict[tuple[str, int], Numbers]
"""For every run and seed."""


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
    """The fraction of the paper's iterations; the table says if it is not 1. Unless given the table's own: 1, or what ends
    within an hour on two cores where the whole takes many."""
    only: str = ""
    """Only the run of this name, or else those whose name contains it, such as 'T=1, ' (which T=10 does not); or of several, as
    in 'MAML|TURTLE'; `metarl list TABLE` names them."""
    root: str = "data"
    """The folder of the image data sets that a table needs."""
    jobs: int = 0
    """Runs side by side, each on one core; 0 for one a core."""
    json: str = ""
    """Write the table to a file too. Finished runs wait beside it in FILE.partial: the same command, given again after it was
    stopped, measures only the rest."""
    picture: str = ""
    """Draw the table to a file, if it has a picture."""


def main(arguments: list[str]) -> int:
    """Run the command."""
    asked = tyro.cli(Reproduce, args=arguments, prog="metarl reproduce")
    TABLES[asked.table]  # an unknown name is said before anything is imported
    table: Table = TABLES.load(asked.table)
    count = table.seeds if asked.seeds is None else asked.seeds
    scale = table.scale if asked.scale is None else asked.scale
    require_positive(seeds=count, scale=scale)
    for name in ("json", "picture"):
        if getattr(asked, name):
            require_folder(name, getattr(asked, name))
    if asked.picture and table.picture is None:
        raise ConfigError(f"picture={asked.picture}: {asked.table} has none")
    rows = chosen(table, asked.only)
    if not rows:
        near = difflib.get_close_matches(asked.only, [row.name for row in table.runs()], n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        raise ConfigError(f"only={asked.only!r} leaves no row of {asked.table}: {hint}`metarl list {asked.table}` names them")
    if table.needs_root:
        require_data(rows, asked.root)
    seeds = range(asked.first_seed, asked.first_seed + count)
    partial = Partial(asked.json, asked.table, scale)
    results, earlier = partial.read()
    started = perf_counter() - earlier
    with closing(_measured(table, rows, seeds, scale, asked, results)) as finished:
        for row, part, numbers in finished:
            results |= {(row.name, seed): one for seed, one in zip(part, numbers, strict=True)}
            partial.write(results, perf_counter() - started)
    by_cell = {cell.name: [results[row.name, seed][cell.name] for seed in seeds] for row in rows for cell in row.cells}
    lines = printing.rows_of(table, by_cell, scale)
    seconds = perf_counter() - started
    printing.show(table, lines, seconds, scale=scale)
    if asked.json:
        command = shlex.join(["metarl", "reproduce", *arguments])
        content = {"table": asked.table, "rows": lines, "command": command, "seconds": round(seconds, 1)}
        with whole(asked.json) as path:
            path.write_text(json.dumps(content, indent=2) + "\n")
        if set(results) <= {(row.name, seed) for row in rows for seed in seeds}:
            partial.path.unlink(missing_ok=True)  # else it holds runs that this command did not ask for
    if asked.picture and table.picture is not None:
        table.picture(lines, scale).savefig(asked.picture, dpi=120)
    return 0


def chosen(table: Table, only: str) -> list[Row]:
    """Return the rows asked for: for each part of ``only`` the row of that name, or else those whose name contains it."""
    rows = table.runs()
    names = {row.name for row in rows}
    parts = only.split("|")
    return [row for row in rows if any(row.name == part if part in names else part in row.name for part in parts)]


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


def _measured(
    table: Table, rows: Sequence[Row], seeds: range, scale: float, asked: Reproduce, results: Results
) -> Generator[tuple[Row, list[int], list[Numbers]], None, None]:
    """Measure every row with every seed that is not among the results, side by side; yield what is finished when it is."""
    import torch

    from metarl.progress import Meter

    work = [
        (row, left)
        for part in parts(table, seeds)
        for row in rows
        if (left := [seed for seed in part if (row.name, seed) not in results])
    ]
    total, missing = len(rows) * len(seeds), sum(len(part) for _, part in work)
    jobs = min(asked.jobs or torch.get_num_threads(), max(1, len(work)))
    with (
        Meter(total, done=total - missing) as meter,
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=begin_worker) as pool,
    ):
        futures = {pool.submit(measured, table, row, part, scale, asked.root): (row, part) for row, part in work}
        try:
            for future in as_completed(futures):
                row, part = futures[future]
                yield row, part, future.result()
                meter.advance(len(part), f"{asked.table}: {row.name} done")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def begin_worker() -> None:
    """Prepare a process of the pool: it takes one thread, and ends when the command does, however that ends."""
    import torch

    torch.set_num_threads(1)
    parent = parent_process()
    assert parent is not None, "only processes of a pool are prepared"

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def measured(table: Table, row: Row, seeds: Sequence[int], scale: float, root: str) -> list[Numbers]:
    """Measure one row with some seeds, in a process of the pool."""
    from metarl.commands.measure import measure

    return measure(table, row, seeds, scale, root)


@dataclass(frozen=True)
class Partial:
    """What is finished so far, in a file beside the report's, so that a command that was stopped goes on from there.

    Attributes:
        json: the report's file; nothing is kept if it is empty.
        table: the table's name.
        scale: the fraction of the runs' iterations.
    """

    json: str
    table: str
    scale: float

    @property
    def path(self) -> Path:
        """The file."""
        return Path(f"{self.json}.partial")

    def write(self, results: Results, seconds: float) -> None:
        """Write the results, and the seconds that they took."""
        if self.json:
            finished = [
                [name, seed, {cell: asdict(one) for cell, one in numbers.items()}] for (name, seed), numbers in results.items()
            ]
            with whole(self.path) as path:
                path.write_text(
                    json.dumps({"table": self.table, "scale": self.scale, "seconds": seconds, "finished": finished})
                )

    def read(self) -> tuple[Results, float]:
        """Return the results of an earlier command with the same table, scale and file, and the seconds that they took."""
        if not self.json or not self.path.exists():
            return {}, 0.0
        try:
            kept = json.loads(self.path.read_text())
            rows = kept["finished"] if (kept["table"], kept["scale"]) == (self.table, self.scale) else None
            seconds = float(kept["seconds"])
        except (ValueError, KeyError, TypeError):
            rows = None
        if rows is None:
            raise ConfigError(
                f"json={self.json}: {self.path} is of another table or scale; remove it, or write to another file"
            )
        results = {(name, seed): {cell: Measured(**one) for cell, one in numbers.items()} for name, seed, numbers in rows}
        return results, seconds
