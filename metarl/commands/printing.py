"""The report of a table: one row for each cell, with the paper's number, ours, and how they stand to each other."""

from collections.abc import Iterator
from math import isfinite
from statistics import fmean, stdev
from typing import Any

from rich.console import Console
from rich.table import Table as Printed

from metarl.commands.table import Cell, Derived, Measured, Table, by_cell, verdict

COLUMNS_AT_ONCE = 4
"""Of a matrix, beside each other."""


def rows_of(table: Table, numbers: dict[str, list[Measured]], scale: float) -> list[dict[str, Any]]:
    """Return the report's rows: every cell that was measured, and what is derived from such.

    Args:
        table: the table.
        numbers: every measured cell's numbers, seed by seed.
        scale: the fraction of the runs' iterations.
    """
    numbers = dict(numbers)
    for _, cell in table.cells():
        if not isinstance(cell, Cell) and all(part in numbers for part in cell.parts):
            seeds = zip(*(numbers[part] for part in cell.parts), strict=True)
            numbers[cell.name] = [cell.of(*of_seed) for of_seed in seeds]
    return [row_of(cell, numbers[cell.name], table, scale) for _, cell in table.cells() if cell.name in numbers]


def row_of(cell: Cell | Derived, seeds: list[Measured], table: Table, scale: float) -> dict[str, Any]:
    """Return a row: means over seeds; the interval is over tasks or over seeds, the spread over seeds.

    Seeds that ended in an infinite number are left out of the mean, and the verdict says how many.
    """
    means = [one.mean for one in seeds if isfinite(one.mean)]
    ours = fmean(means) if means else None
    spread = stdev(means) if len(means) > 1 else None
    known = [one.ci95 for one in seeds if one.ci95 is not None and isfinite(one.mean)]
    if table.interval == "seeds":
        interval = None if spread is None else 1.96 * spread / len(means) ** 0.5
    else:
        interval = fmean(known) if known else None
    said = "not finite" if ours is None else verdict(cell, ours, interval or 0.0, table.higher_is_better)
    if ours is not None and len(means) < len(seeds):
        said += f"; {len(seeds) - len(means)} of {len(seeds)} seeds not finite, left out"
    stopped = sum(one.stopped and isfinite(one.mean) for one in seeds)
    if stopped:
        said += f"; {stopped} of {len(seeds)} seeds stopped early at a loss that was not finite"
    return {
        "cell": cell.name if scale == 1 else f"{cell.name} (scale {scale:g})",
        "paper": cell.paper,
        "paper_ci": cell.paper_ci if isinstance(cell, Cell) else None,
        "ours": _rounded(ours),
        "ours_ci": _rounded(interval),
        "ours_by_seed": [_rounded(one.mean) for one in seeds],
        "spread": _rounded(spread),
        "seeds": len(seeds),
        "verdict": said,
    }


def show(table: Table, rows: list[dict[str, Any]], seconds: float, console: Console | None = None, scale: float = 1.0) -> None:
    """Print the report."""
    console = console or Console()
    for printed in _matrices(table, rows) if table.columns else [_lines(table, rows)]:
        console.print(printed)
    seeds = rows[0]["seeds"]
    counted = f"{seeds} seed{'s' * (seeds > 1)}"
    interval = "over seeds" if table.interval == "seeds" else f"over tasks, mean of {counted}"
    notes = [
        "in brackets: published" if table.columns and any(row["paper"] is not None for row in rows) else "",
        f"± 95% interval {interval}",
        "spread: deviation over seeds" if any(row["spread"] is not None for row in rows) else "",
        counted,
        f"scale {scale:g}: that fraction of the table's iterations" if scale != 1 else "",
        f"{seconds:.0f} s",
    ]
    console.print("; ".join(note for note in notes if note))


def _lines(table: Table, rows: list[dict[str, Any]]) -> Printed:
    """Return a line for each cell."""
    printed = Printed(title=table.title, title_justify="left")
    for heading in ("cell", "paper", "ours", "spread", "verdict"):
        printed.add_column(heading, justify="left" if heading in ("cell", "verdict") else "right")
    for row in rows:
        paper = "-" if row["paper"] is None else f"{row['paper']:.2f}" + (f" ±{row['paper_ci']:.2f}" if row["paper_ci"] else "")
        spread = "-" if row["spread"] is None else f"{row['spread']:.2f}"
        interval = "" if row["ours_ci"] is None else f" ±{row['ours_ci']:.2f}"
        ours = "-" if row["ours"] is None else f"{row['ours']:.2f}{interval}"
        printed.add_row(row["cell"], paper, ours, spread, row["verdict"])
    return printed


def _matrices(table: Table, rows: list[dict[str, Any]]) -> Iterator[Printed]:
    """Yield a line for all cells that share what stands before the comma, so many columns at a time that a terminal holds them.

    Published numbers are in brackets.
    """
    lines: dict[str, dict[str, str]] = {}
    for name, row in by_cell(rows).items():
        line, _, column = name.rpartition(", ")
        lines.setdefault(line, {})[column] = _text(row)
    shown = [column for column in table.columns if any(column in cells for cells in lines.values())]
    for start in range(0, len(shown), COLUMNS_AT_ONCE):
        part = shown[start : start + COLUMNS_AT_ONCE]
        printed = Printed(title=table.title if start == 0 else None, title_justify="left")
        for column in ("", *part):
            printed.add_column(column, justify="right" if column else "left", overflow="fold")
        for line, cells in lines.items():
            if any(column in cells for column in part):
                printed.add_row(line, *(cells.get(column, "") for column in part))
        yield printed


def _text(row: dict[str, Any]) -> str:
    """Return what stands in a cell of a matrix, the published number in brackets."""
    if row["ours"] is None:
        text = "-"
    elif row["ours_ci"] is None:
        text = f"{row['ours']:.1f}" if row["ours"] < 1000 else f"{row['ours']:,.0f}"
    else:
        text = f"{row['ours']:.1f} ±{row['ours_ci']:.1f}"
    return text + (f" ({row['paper']:g})" if row["paper"] is not None else "")


def _rounded(value: float | None) -> float | None:
    """Return a number for the report, None where there is none."""
    return round(value, 4) if value is not None and isfinite(value) else None
