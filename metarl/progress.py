"""How far a long command is: a bar on a terminal, and without one a line now and then."""

import time
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Part = TypeVar("Part")
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
        self._text = ""
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
        """Leave the bar as it is; without one say where it ended, if that has not been said."""
        if self._bar is not None:
            self._bar.stop()
        elif self._done > self._said:
            self._say()

    def advance(self, steps: int = 1, text: str = "") -> None:
        """Note that steps were done.

        Args:
            steps: how many.
            text: what to say beside the count.
        """
        self._done += steps
        self._text = text
        if self._bar is not None:
            self._bar.update(self._task, advance=steps, description=text)
            return
        waited = time.monotonic() - self._last
        is_tenth = 10 * (self._done - self._said) >= self._total
        if self._done >= self._total or waited >= SECONDS or (is_tenth and waited >= LEAST_SECONDS):
            self._say()

    def _say(self) -> None:
        self._last, self._said = time.monotonic(), self._done
        parts = [f"{self._done}/{self._total}", *filter(None, [self._text]), f"({self._last - self._started:.0f} s)"]
        self._console.print(" ".join(parts), markup=False, highlight=False, soft_wrap=True)


def tracked(parts: Iterable[Part], total: int, size: Callable[[Part], int]) -> Generator[Part, None, None]:
    """Yield parts of long work, and show how much of it is done as each comes back.

    Args:
        parts: of the work.
        total: the steps of all.
        size: how many steps a part is.
    """
    with Meter(total) as meter:
        for part in parts:
            yield part
            meter.advance(size(part))
