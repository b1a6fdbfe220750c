"""What accompanies learning: a progress bar that shows the figure that matters, and checkpoints."""

import os
from pathlib import Path
from time import perf_counter

from rich import get_console
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback

from metarl import processes
from metarl.errors import require_positive

LINES = 10
"""Lines that a run without a terminal prints, at most."""
LINE_SECONDS = 30.0
"""Seconds between two of them, at least."""


class ProgressCallback(BaseCallback):
    """Shows iterations done, time left, and the return or loss before and after adaptation.

    On a terminal as a bar; elsewhere, such as in a file, as a line now and then and one at the end.

    Args:
        iterations: how many will be done.
        console: where it is shown; rich's own unless given.
    """

    def __init__(self, iterations: int, console: Console | None = None) -> None:
        super().__init__()
        self._iterations = iterations
        self._console = console or get_console()
        self._display: _Bar | _Lines | None = None

    def _on_training_start(self) -> None:
        bar = self._console.is_terminal or self._console.is_jupyter
        self._display = (_Bar if bar else _Lines)(self._iterations, self._console)

    def _on_step(self) -> bool:
        assert self._display is not None
        self._display.advance(self.model.summary())  # type: ignore[attr-defined]
        return True

    def _on_training_end(self) -> None:
        if self._display is not None:
            self._display.stop()


class _Bar:
    """Progress as a bar that grows."""

    def __init__(self, iterations: int, console: Console) -> None:
        columns = (
            BarColumn(30),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("", total=iterations)
        self._progress.start()

    def advance(self, summary: str) -> None:
        """Show one more iteration."""
        self._progress.update(self._task, advance=1, description=summary)

    def stop(self) -> None:
        """Leave the bar as it is."""
        self._progress.stop()


class _Lines:
    """Progress as lines: after every tenth of the iterations, but not before 30 seconds have gone by since the last."""

    def __init__(self, iterations: int, console: Console) -> None:
        self._iterations = iterations
        self._console = console
        self._done = self._said = 0
        self._start = self._last = perf_counter()
        self._summary = ""

    def advance(self, summary: str) -> None:
        """Count one more iteration, and print a line if it is time for one."""
        self._done += 1
        self._summary = summary
        far = (self._done - self._said) * LINES >= self._iterations
        if far and perf_counter() - self._last >= LINE_SECONDS:
            self._say()

    def stop(self) -> None:
        """Print where it ended, if that has not been said."""
        if self._done > self._said:
            self._say()

    def _say(self) -> None:
        self._said, self._last = self._done, perf_counter()
        seconds = f"{self._last - self._start:.0f} s"
        parts = [f"iteration {self._done} of {self._iterations}", seconds, *filter(None, [self._summary])]
        self._console.print(", ".join(parts), highlight=False, markup=False, soft_wrap=True)


class SaveCallback(BaseCallback):
    """Saves the agent every so many outer steps to one file, which is always whole.

    Args:
        path: the file.
        every: outer steps between two saves.
    """

    def __init__(self, path: str | os.PathLike[str], every: int) -> None:
        super().__init__()
        require_positive(save_every=every)
        self._path = Path(path)
        self._every = every

    def _on_step(self) -> bool:
        if self.model.iteration % self._every == 0 and processes.rank() == 0:  # type: ignore[attr-defined]
            self.model.save(self._path)
        return True
