"""What accompanies learning: progress with the metric that matters, and checkpoints."""

import os
from pathlib import Path
from time import process_time

import torch
from rich import get_console
from rich.console import Console
from stable_baselines3.common.callbacks import BaseCallback

from metarl import processes
from metarl.errors import require_positive, require_whole
from metarl.progress import Meter


class ProgressCallback(BaseCallback):
    """Shows iterations done, time left, and the return or loss before and after adaptation; see ``Meter``.

    Args:
        iterations: how many there will be in all.
        console: where it is shown; rich's own unless given.
        done: how many of them were done before.
    """

    def __init__(self, iterations: int, console: Console | None = None, done: int = 0) -> None:
        super().__init__()
        self._iterations, self._done_before = iterations, done
        self._console = console or get_console()
        self._meter: Meter | None = None

    def _on_training_start(self) -> None:
        self._meter = Meter(self._iterations, self._console, self._done_before).__enter__()

    def _on_step(self) -> bool:
        assert self._meter is not None
        self._meter.advance(text=self.model.summary())  # type: ignore[attr-defined]
        return True

    def _on_training_end(self) -> None:
        if self._meter is not None:
            self._meter.close()


class SaveCallback(BaseCallback):
    """Saves the agent every so many outer steps to one file, which is always whole.

    Args:
        path: the file.
        every: outer steps between two saves.
    """

    def __init__(self, path: str | os.PathLike[str], every: int) -> None:
        super().__init__()
        require_whole(save_every=every)
        self._path = Path(path)
        self._every = every
        self._seen = 0

    def _on_training_start(self) -> None:
        self._seen = self.model.iteration  # type: ignore[attr-defined]

    def _on_step(self) -> bool:
        iteration = self.model.iteration  # type: ignore[attr-defined]
        is_due = iteration // self._every > self._seen // self._every  # several steps of one call may have gone by
        self._seen = iteration
        if is_due and processes.rank() == 0:
            self.model.save(self._path)
        return True


class StopAfter(BaseCallback):
    """Ends learning after so many minutes of one core's time, whatever else the machine does, with the outer step under way.

    On a machine with a core to itself and one thread it is wall-clock time, so that learners of other costs can be compared at
    an equal budget. How many outer steps that makes depends on the machine: ``agent.iteration`` says it.

    Args:
        minutes: of processor time since learning began; of several processes the mean, so that all end with the same step.
    """

    def __init__(self, minutes: float) -> None:
        super().__init__()
        require_positive(minutes=minutes)
        self._seconds = 60 * minutes
        self._start = float("inf")

    def _on_training_start(self) -> None:
        self._start = process_time()

    def _on_step(self) -> bool:
        spent = torch.tensor(process_time() - self._start, dtype=torch.float64, device=self.model.device)
        return processes.mean(spent).item() < self._seconds
