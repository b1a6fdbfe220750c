"""metarl reproduce: run a published table, and print the paper's figures beside ours, cell by cell."""

import json
import shlex
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from metarl.checkpoint import require_folder, whole
from metarl.commands.tables import maml_navigation, maml_sine, meta_sgd_table_1, meta_sgd_table_4
from metarl.commands.tables.cell import Cell, Measured
from metarl.errors import ConfigError, require_positive, unknown_name

TABLES = {
    "meta-sgd-table-1": meta_sgd_table_1,
    "meta-sgd-table-4": meta_sgd_table_4,
    "maml-navigation": maml_navigation,
    "maml-sine": maml_sine,
}


@dataclass(frozen=True)
class Reproduce:
    """Run a published table."""

    table: tyro.conf.Positional[str]
    """Its name; `metarl list` shows all."""
    seeds: int = 3
    """Independent runs of each row."""
    first_seed: int = 0
    """The first run's seed; the others follow."""
    scale: float = 1.0
    """The fraction of the paper's iterations; below 1 every row says so."""
    only: str = ""
    """Only rows whose name contains this."""
    jobs: int = 0
    """Runs side by side, each on one core; 0 for one a core."""
    json: str = ""
    """Write the table to a file too."""


def main(arguments: list[str]) -> int:
    """Run the command."""
    given = tyro.cli(Reproduce, args=arguments, prog="metarl reproduce")
    if given.table not in TABLES:
        raise unknown_name("table", given.table, TABLES)
    require_positive(seeds=given.seeds, scale=given.scale)
    if given.json:
        require_folder("json", given.json)
    started = perf_counter()
    cells = [cell for cell in TABLES[given.table].cells() if given.only in cell.run_name]
    if not cells:
        raise ConfigError(f"only={given.only!r} leaves no row of {given.table}; rows: {_names(TABLES[given.table].cells())}")
    measured = _measure(TABLES[given.table].measure, cells, given)
    rows = [_row(cell, [found[cell.name] for found in measured[cell.run_name]], given) for cell in cells]
    seconds = perf_counter() - started
    _print(TABLES[given.table].TITLE, rows, seconds)
    if given.json:
        command = shlex.join(["metarl", "reproduce", *arguments])
        content = {"table": given.table, "rows": rows, "command": command, "seconds": round(seconds, 1)}
        with whole(given.json) as path:
            path.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def _names(cells: Iterable[Cell]) -> str:
    return ", ".join(dict.fromkeys(cell.run_name for cell in cells))


def _measure(
    measure: Callable[[str, int, float], dict[str, Measured]], cells: list[Cell], given: Reproduce
) -> dict[str, list[dict[str, Measured]]]:
    """Measure every run with every seed, side by side, and return the figures by run and cell name."""
    names = list(dict.fromkeys(cell.run_name for cell in cells))
    work = [(name, given.first_seed + seed) for seed in range(given.seeds) for name in names]
    jobs = min(given.jobs or torch.get_num_threads(), len(work))
    results: dict[tuple[str, int], dict[str, Measured]] = {}
    columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=Console(stderr=True)) as bar,
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        task = bar.add_task(given.table, total=len(work))
        futures = {pool.submit(measure, name, seed, given.scale): (name, seed) for name, seed in work}
        try:
            for future in as_completed(futures):
                results[futures[future]] = future.result()
                name, seed = futures[future]
                bar.update(task, advance=1, description=f"{given.table}: {name}, seed {seed} done")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: [results[name, given.first_seed + seed] for seed in range(given.seeds)] for name in names}


def _row(cell: Cell, found: list[Measured], given: Reproduce) -> dict[str, Any]:
    """Return a row of the report: means over seeds; the interval is over tasks, the spread over seeds."""
    ours = fmean(one.mean for one in found)
    return {
        "cell": cell.name if given.scale == 1 else f"{cell.name} (scale {given.scale:g})",
        "paper": cell.paper,
        "paper_ci": cell.paper_ci,
        "ours": round(ours, 4),
        "ours_ci": round(fmean(one.ci95 for one in found), 4),
        "ours_by_seed": [round(one.mean, 4) for one in found],
        "spread": round(stdev([one.mean for one in found]), 4) if len(found) > 1 else None,
        "seeds": len(found),
        "verdict": cell.verdict(ours, fmean(one.ci95 for one in found)),
    }


def _print(title: str, rows: list[dict[str, Any]], seconds: float) -> None:
    table = Table(title=title, title_justify="left")
    for heading in ("cell", "paper", "ours", "spread", "verdict"):
        table.add_column(heading, justify="left" if heading in ("cell", "verdict") else "right")
    for row in rows:
        paper = "-" if row["paper"] is None else f"{row['paper']:.2f}" + (f" ±{row['paper_ci']:.2f}" if row["paper_ci"] else "")
        spread = "-" if row["spread"] is None else f"{row['spread']:.2f}"
        table.add_row(row["cell"], paper, f"{row['ours']:.2f} ±{row['ours_ci']:.2f}", spread, row["verdict"])
    console = Console()
    console.print(table)
    seeds = rows[0]["seeds"]
    console.print(
        f"± 95% interval over tasks, mean of {seeds} seed{'s' * (seeds > 1)}; spread: deviation over seeds; {seconds:.0f} s"
    )
