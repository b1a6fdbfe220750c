"""Run every deliberate fault against the tests that own its file: ``python -m tests.mutants.run [--only PATTERN]``.

The checkout's files are copied to a temporary folder for each worker. One fault at a time is written into a copy, the tests
that must notice it are run there, and the right text is put back. Before that each set of tests is run once without any
fault: tests that fail anyway notice nothing. Exit status 0 if enough were caught and none is stale.
"""

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from tests.mutants.mutant import ROOT, Mutant, StaleError, load
from tests.mutants.worker import RAN_ON, SLOW, Worker

T = TypeVar("T")
Verdict = Literal["caught", "escaped", "stale"]
VERDICTS: dict[Verdict, str] = {"caught": "green", "escaped": "red", "stale": "yellow"}
FAILED, PASSED = 1, 0
"""Pytest's exit statuses; others mean that it could not run: a fault that breaks an import tests nothing."""
BAR = 0.95
"""The share of the faults that must be caught."""


def copy_checkout(root: Path, folder: Path) -> None:
    """Copy the files that git knows or would take, links as links."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=root, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        source, target = root / name, folder / name
        if source.is_symlink() or source.is_file():  # not what was deleted but is still in the index
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


@contextmanager
def fault(mutant: Mutant, folder: Path, number: int) -> Iterator[None]:
    """Have a fault in a copy of the checkout for the time of a block.

    Raises:
        StaleError: the fault does not fit the file.
    """
    path = folder / mutant.file
    if not path.is_file():
        raise StaleError(f"{mutant.file} does not exist")
    right, status = path.read_bytes(), path.stat()
    path.write_text(mutant.apply(right.decode()))
    os.utime(path, (number, number))  # Python tells compiled files apart by seconds and size: no fault may pass for another
    try:
        yield
    finally:
        path.write_bytes(right)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def judge(mutant: Mutant, worker: Worker, number: int, limit: float) -> tuple[Verdict, str]:
    """Return whether the tests notice a fault, and what there is to say of it."""
    try:
        with fault(mutant, worker.folder, number):
            status = worker.run(mutant.tests, limit)
    except StaleError as error:
        return "stale", str(error)
    if status == FAILED:
        return "caught", ""
    if status == RAN_ON:
        return "caught", f"ran past {limit:g} seconds"
    return ("escaped", mutant.why) if status == PASSED else ("stale", f"pytest could not run: exit status {status}")


def check(tests: Sequence[str], worker: Worker, limit: float) -> str:
    """Return what is wrong with tests that do not pass without a fault, or nothing."""
    status = worker.run(tests, limit)
    if status == PASSED:
        return ""
    return f"ran past {limit:g} seconds without a fault" if status == RAN_ON else f"exit status {status} without a fault"


def run(
    mutants: Sequence[Mutant],
    root: Path = ROOT,
    jobs: int = 2,
    limit: float = 600,
    imports: Sequence[str] = SLOW,
    report: Callable[[str], None] = lambda line: None,
    console: Console | None = None,
) -> dict[Mutant, tuple[Verdict, str]]:
    """Return the verdict on every mutant, and why.

    Args:
        mutants: the faults.
        root: the checkout, which is only read.
        jobs: how many run at once, each in a copy of its own.
        limit: seconds that one run of tests may take; a fault that makes them run on is caught.
        imports: what each worker imports once.
        report: is told of each verdict, as a line.
        console: where the progress bar goes; none is shown without a terminal.
    """
    verdicts: dict[Mutant, tuple[Verdict, str]] = {}
    suites = list(dict.fromkeys(mutant.tests for mutant in mutants))
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    shown = Progress(*columns, console=console, disable=console is None or not console.is_terminal)
    with workers(root, jobs, imports) as lent, ThreadPoolExecutor(jobs) as pool, shown as progress:
        bar = progress.add_task("tests without a fault", total=len(suites))
        checks = {pool.submit(lent, partial(check, tests, limit=limit)): tests for tests in suites}
        unsound = {}
        for done in as_completed(checks):
            unsound[checks[done]] = done.result()
            progress.advance(bar)
        verdicts |= {mutant: ("stale", unsound[mutant.tests]) for mutant in mutants if unsound[mutant.tests]}
        sound = [mutant for mutant in mutants if not unsound[mutant.tests]]
        bar = progress.add_task("faults", total=len(sound))
        judged = {
            pool.submit(lent, partial(judge, mutant, number=number, limit=limit)): mutant for number, mutant in enumerate(sound)
        }
        for finished in as_completed(judged):
            mutant = judged[finished]
            verdicts[mutant] = finished.result()
            progress.advance(bar)
            report(f"{verdicts[mutant][0]:<8}{mutant.area}: {mutant.name}")
    return {mutant: verdicts[mutant] for mutant in mutants}


@contextmanager
def workers(root: Path, jobs: int, imports: Sequence[str]) -> Iterator[Callable[[Callable[[Worker], T]], T]]:
    """Yield what lends a worker, with a copy of the checkout of its own, to a function of it."""
    idle: queue.Queue[Worker] = queue.Queue()

    def lent(work: Callable[[Worker], T]) -> T:
        worker = idle.get()
        try:
            return work(worker)
        finally:
            idle.put(worker)

    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary, ExitStack() as stack:
        for job in range(jobs):
            folder = Path(temporary, str(job))
            copy_checkout(root, folder)
            worker = Worker(folder, imports)
            stack.callback(worker.close)
            idle.put(worker)
        yield lent


def show(verdicts: dict[Mutant, tuple[Verdict, str]], console: Console) -> None:
    """Print how many of each area were caught, and every one that was not."""
    missed = {mutant: verdict for mutant, verdict in verdicts.items() if verdict[0] != "caught"}
    if missed:
        table = Table("fault", "verdict", "why it matters")
        for mutant, (verdict, note) in missed.items():
            table.add_row(f"{mutant.area}: {mutant.name}", f"[{VERDICTS[verdict]}]{verdict}", note)
        console.print(table)
    table = Table("area", *VERDICTS, title="Deliberate faults")
    areas = list(dict.fromkeys(mutant.area for mutant in verdicts))
    for area in [*areas, "all"]:
        of_area = [verdict for mutant, (verdict, _) in verdicts.items() if area in (mutant.area, "all")]
        table.add_row(area, *(str(of_area.count(verdict)) for verdict in VERDICTS), end_section=area == areas[-1])
    console.print(table)


def main() -> None:
    """Run the faults that are asked for; exit with 1 if too few are caught or any is stale."""
    parser = argparse.ArgumentParser(description="Run deliberate faults against the tests that must notice them.")
    parser.add_argument("--only", metavar="PATTERN", default="*", help="'area: name' as the shell matches it, e.g. 'rules: *'")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (default: 2)")
    parser.add_argument("--limit", type=float, default=600, help="seconds that one run of tests may take (default: 600)")
    options = parser.parse_args()
    mutants = [mutant for mutant in load() if fnmatch(f"{mutant.area}: {mutant.name}", options.only)]
    if not mutants:
        parser.error(f"--only {options.only!r} matches no fault; 'rules: *' are those of an area")
    console = Console()
    verdicts = run(mutants, jobs=options.jobs, limit=options.limit, report=console.print, console=console)
    show(verdicts, console)
    found = [verdict for verdict, _ in verdicts.values()]
    sys.exit(int(found.count("caught") < BAR * len(found) or "stale" in found))


if __name__ == "__main__":
    main()
