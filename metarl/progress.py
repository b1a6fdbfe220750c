"""How far a long command is: a bar on a terminal, and without one a line now and then."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SECONDS = 30.0
"""Between two lines, at most."""
LEAST_SECONDS = 1.0
"""Between two lines, at least."""


class Meter:
    """Shows how much of a number of steps is done.

    Args:
        total: the number of steps.
        console: where to show it; standard error unless given.
        done: how many are done already.
    """

    def __init__(self, total: int, console: Console | None = None, done: int = 0) -> None:
        self._console = console or Console(stderr=True, soft_wrap=True)
        self._total = total
        self._done = self._said = done
        self._started = self._last = time.monotonic()
        self._bar: Progress | None = None
        if self._console.is_terminal:
            columns = (
                BarColumn(30),
                MofNCompleteColumn(),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task("", total=total, completed=done)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away from what follows."""
        if self._bar is not None:
            self._bar.stop()

    def advance(self, steps: int = 1, text: str = "") -> None:
        """Note that steps were done.

        Args:
            steps: how many.
            text: what to say beside the count.
        """
        self._done += steps
        if self._bar is not None:
            self._bar.update(self._task, advance=steps, description=text)
            return
        now = time.monotonic()
        waited = now - self._last
        is_tenth = 10 * (self._done - self._said) >= self._total
        if self._done >= self._total or waited >= SECONDS or (is_tenth and waited >= LEAST_SECONDS):
            seconds = f"{now - self._started:.0f} s"
            line = f"{self._done}/{self._total} {text} ({seconds})" if text else f"{self._done}/{self._total} ({seconds})"
            self._console.print(line, markup=False, highlight=False)
            self._last, self._said = now, self._done
