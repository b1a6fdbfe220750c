"""A progress bar that shows the figure that matters."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback


class ProgressCallback(BaseCallback):
    """Shows iterations done, time left, and the return or loss before and after adaptation.

    Args:
        iterations: how many will be done.
    """

    def __init__(self, iterations: int) -> None:
        super().__init__()
        self._iterations = iterations
        self._bar: Progress | None = None

    def _on_training_start(self) -> None:
        columns = (BarColumn(None), MofNCompleteColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns)
        self._task = self._bar.add_task("", total=self._iterations)
        self._bar.start()

    def _on_step(self) -> bool:
        assert self._bar is not None
        latest = getattr(self.model, "latest", None)
        text = "" if latest is None else f"{self.model.world.problem.figure} {latest['before']:.2f} -> {latest['after']:.2f}"  # type: ignore[attr-defined]
        self._bar.update(self._task, advance=1, description=text)
        return True

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
