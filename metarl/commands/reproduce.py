"""metarl reproduce: run a published table, and print the paper's figures beside ours, cell by cell."""

import json
import shlex
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from math import isfinite
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from metarl.agents.worlds import make_env
from metarl.commands.tables import (
    alpha_maml_figures,
    alpha_maml_sine,
    maml_navigation,
    maml_sine,
    meta_sgd_table_1,
    meta_sgd_table_2,
    meta_sgd_table_3,
    meta_sgd_table_4,
    methods_on_omniglot,
    rules_on_navigation,
    turtle_figure_1,
    turtle_sine,
    turtle_table_1,
    turtle_table_3,
    turtle_table_4,
)
from metarl.commands.tables.cell import Cell, Measured
from metarl.errors import ConfigError, require_positive, unknown_name
from metarl.files import require_folder, whole

TABLES: dict[str, Any] = {
    "meta-sgd-table-1": meta_sgd_table_1,
    "meta-sgd-table-2": meta_sgd_table_2,
    "meta-sgd-table-3": meta_sgd_table_3,
    "meta-sgd-table-4": meta_sgd_table_4,
    "maml-navigation": maml_navigation,
    "maml-sine": maml_sine,
    "turtle-sine": turtle_sine,
    "turtle-figure-1": turtle_figure_1,
    "turtle-table-1": turtle_table_1,
    "turtle-table-3": turtle_table_3,
    "turtle-table-4": turtle_table_4,
    "methods-on-omniglot": methods_on_omniglot,
    "alpha-maml-sine": alpha_maml_sine,
    "alpha-maml-figures": alpha_maml_figures,
    "rules-on-navigation": rules_on_navigation,
}


Results = dict[tuple[str, int], dict[str, Measured]]
"""Figures by cell, for every run and seed."""


@dataclass(frozen=True)
class Reproduce:
    """Run a published table."""

    table: tyro.conf.Positional[str]
    """Its name; `metarl list` shows all."""
    seeds: int | None = None
    """Independent runs of each row; the table's own number (3 for most) unless given."""
    first_seed: int = 0
    """The first run's seed; the others follow."""
    scale: float | None = None
    """The fraction of the paper's iterations; below 1 every row says so. Unless given the table's own: 1, or what ends within
    an hour on two cores where the whole takes many."""
    only: str = ""
    """Only rows whose name contains this, such as 'T=1, ' (which T=10 does not); or one of several, as in 'MAML|TURTLE'."""
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
    given = tyro.cli(Reproduce, args=arguments, prog="metarl reproduce")
    if given.table not in TABLES:
        raise unknown_name("table", given.table, TABLES)
    table = TABLES[given.table]
    seeds = getattr(table, "DEFAULT_SEEDS", 3) if given.seeds is None else given.seeds
    scale = getattr(table, "DEFAULT_SCALE", 1.0) if given.scale is None else given.scale
    require_positive(seeds=seeds, scale=scale)
    settled = Settled(**{**vars(given), "seeds": seeds, "scale": scale})
    for name in ("json", "picture"):
        if getattr(given, name):
            require_folder(name, getattr(given, name))
    if given.picture and not hasattr(table, "picture"):
        raise ConfigError(f"picture={given.picture}: {given.table} has none")
    started = perf_counter()
    cells = [cell for cell in table.cells() if any(part in cell.run_name for part in given.only.split("|"))]
    measured_cells = [cell for cell in cells if cell.difference is None]
    if not measured_cells:
        raise ConfigError(f"only={given.only!r} leaves no row of {given.table}; rows: {_names(table.cells())}")
    names = " ".join(cell.run_name for cell in measured_cells)
    for env, mark in getattr(table, "DATA", {}).items():  # what is missing is said, and what is new decoded, before the work
        if mark in names:
            make_env(env, {"root": given.root})
    results, earlier = _finished(settled)
    started -= earlier
    measured = _measure(measured_cells, settled, results, started)
    figures = {cell.name: [found[cell.name] for found in measured[cell.run_name]] for cell in measured_cells}
    for cell in table.cells():
        if cell.difference is not None and all(name in figures for name in cell.difference):
            pairs = zip(*(figures[name] for name in cell.difference), strict=True)
            figures[cell.name] = [one.minus(other) for one, other in pairs]
    over_seeds = getattr(table, "INTERVAL", "tasks") == "seeds"
    rows = [_row(cell, figures[cell.name], settled, over_seeds) for cell in table.cells() if cell.name in figures]
    seconds = perf_counter() - started
    _print(table.TITLE, rows, seconds, over_seeds)
    if given.json:
        command = shlex.join(["metarl", "reproduce", *arguments])
        content = {"table": given.table, "rows": rows, "command": command, "seconds": round(seconds, 1)}
        with whole(given.json) as path:
            path.write_text(json.dumps(content, indent=2) + "\n")
        if set(results) <= {(cell.run_name, settled.first_seed + seed) for cell in measured_cells for seed in range(seeds)}:
            _partial(settled).unlink(missing_ok=True)  # else it holds runs that this command did not ask for
    if given.picture:
        table.picture(rows, settled.scale).savefig(given.picture, dpi=120)
    return 0


def _names(cells: Iterable[Cell]) -> str:
    return ", ".join(dict.fromkeys(cell.run_name for cell in cells))


def _measure(cells: list[Cell], given: Settled, results: Results, started: float) -> dict[str, list[dict[str, Measured]]]:
    """Measure every run with every seed that is not among the results, side by side; return all figures by run and cell."""
    names = list(dict.fromkeys(cell.run_name for cell in cells))
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    work = [
        (name, left)
        for part in _parts(given, seeds)
        for name in names
        if (left := [s for s in part if (name, s) not in results])
    ]
    jobs = min(given.jobs or torch.get_num_threads(), max(1, len(work)))
    columns = (TextColumn("{task.description}"), BarColumn(30), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=Console(stderr=True)) as bar,
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        task = bar.add_task(
            given.table, total=len(names) * given.seeds, completed=len(names) * given.seeds - sum(len(p) for _, p in work)
        )
        futures = {pool.submit(_run, given.table, name, part, given.scale, given.root): (name, part) for name, part in work}
        try:
            for future in as_completed(futures):
                name, part = futures[future]
                results |= {(name, seed): found for seed, found in zip(part, future.result(), strict=True)}
                bar.update(task, advance=len(part), description=f"{given.table}: {name} done")
                _keep(given, results, perf_counter() - started)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: [results[name, seed] for seed in seeds] for name in names}


def _parts(given: Settled, seeds: range) -> list[range]:
    """Return the seeds in the parts that are measured together: one by one, unless the table trains seeds side by side."""
    table = TABLES[given.table]
    size = getattr(table, "SEEDS_AT_ONCE", len(seeds)) if hasattr(table, "measure_together") else 1
    size = len(seeds) if torch.cuda.is_available() and size > 1 else size
    return [seeds[start : start + size] for start in range(0, len(seeds), size)]


def _run(table: str, name: str, seeds: list[int], scale: float, root: str) -> list[dict[str, Measured]]:
    """Measure one run with some seeds, in a process of the pool."""
    module = TABLES[table]
    if hasattr(module, "DATA"):
        return [module.measure(name, seed, scale, root) for seed in seeds]
    if hasattr(module, "measure_together"):
        found: list[dict[str, Measured]] = module.measure_together(name, seeds, scale)
        return found
    return [module.measure(name, seed, scale) for seed in seeds]


def _partial(given: Settled) -> Path:
    return Path(f"{given.json}.partial")


def _keep(given: Settled, results: Results, seconds: float) -> None:
    """Write what is finished, so that a command that was stopped goes on from there."""
    if given.json:
        rows = [[name, seed, {cell: asdict(one) for cell, one in found.items()}] for (name, seed), found in results.items()]
        with whole(_partial(given)) as path:
            path.write_text(json.dumps({"table": given.table, "scale": given.scale, "seconds": seconds, "finished": rows}))


def _finished(given: Settled) -> tuple[Results, float]:
    """Return what an earlier command with the same table, scale and file had finished, and the seconds it took."""
    if not given.json or not _partial(given).exists():
        return {}, 0.0
    try:
        kept = json.loads(_partial(given).read_text())
        rows = kept["finished"] if (kept["table"], kept["scale"]) == (given.table, given.scale) else None
    except (ValueError, KeyError, TypeError):
        rows = None
    if rows is None:
        raise ConfigError(
            f"json={given.json}: {_partial(given)} is of another table or scale; remove it, or write to another file"
        )
    results = {(name, seed): {cell: Measured(**one) for cell, one in found.items()} for name, seed, found in rows}
    return results, float(kept.get("seconds", 0.0))


def _row(cell: Cell, found: list[Measured], given: Settled, over_seeds: bool) -> dict[str, Any]:
    """Return a row of the report: means over seeds; the interval is over tasks or over seeds, the spread over seeds.

    Seeds that ended in an infinite figure are left out of the mean, and the verdict says how many.
    """
    means = [one.mean for one in found if isfinite(one.mean)]
    ours = fmean(means) if means else None
    spread = stdev(means) if len(means) > 1 else None
    known = [one.ci95 for one in found if one.ci95 is not None and isfinite(one.mean)]
    if over_seeds:
        interval = None if spread is None else 1.96 * spread / len(means) ** 0.5
    else:
        interval = fmean(known) if known else None
    verdict = "not finite" if ours is None else cell.verdict(ours, interval or 0.0)
    if ours is not None and len(means) < len(found):
        verdict += f"; {len(found) - len(means)} of {len(found)} seeds not finite, left out"
    stopped = sum(one.stopped and isfinite(one.mean) for one in found)
    if stopped:
        verdict += f"; {stopped} of {len(found)} seeds stopped early at a loss that was not finite"
    return {
        "cell": cell.name if given.scale == 1 else f"{cell.name} (scale {given.scale:g})",
        "paper": cell.paper,
        "paper_ci": cell.paper_ci,
        "ours": _rounded(ours),
        "ours_ci": _rounded(interval),
        "ours_by_seed": [_rounded(one.mean) for one in found],
        "spread": _rounded(spread),
        "seeds": len(found),
        "verdict": verdict,
    }


def _rounded(value: float | None) -> float | None:
    """Return a figure for the report, None where there is none."""
    return round(value, 4) if value is not None and isfinite(value) else None


def _print(title: str, rows: list[dict[str, Any]], seconds: float, over_seeds: bool) -> None:
    table = Table(title=title, title_justify="left")
    for heading in ("cell", "paper", "ours", "spread", "verdict"):
        table.add_column(heading, justify="left" if heading in ("cell", "verdict") else "right")
    for row in rows:
        paper = "-" if row["paper"] is None else f"{row['paper']:.2f}" + (f" ±{row['paper_ci']:.2f}" if row["paper_ci"] else "")
        spread = "-" if row["spread"] is None else f"{row['spread']:.2f}"
        interval = "" if row["ours_ci"] is None else f" ±{row['ours_ci']:.2f}"
        ours = "-" if row["ours"] is None else f"{row['ours']:.2f}{interval}"
        table.add_row(row["cell"], paper, ours, spread, row["verdict"])
    console = Console()
    console.print(table)
    seeds = rows[0]["seeds"]
    interval = "over seeds" if over_seeds else f"over tasks, mean of {seeds} seed{'s' * (seeds > 1)}"
    console.print(f"± 95% interval {interval}; spread: deviation over seeds; {seeds} seed{'s' * (seeds > 1)}; {seconds:.0f} s")
