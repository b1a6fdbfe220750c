"""A run's TensorBoard logs as numbers, and drawings of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS = {"env_steps": "environment steps"}
"""What is counted in a run, where the log has a short name for it."""
PARTS = ("sampling", "adaptation", "outer_step")
"""Of an iteration's time, as the log names them."""


@dataclass(frozen=True)
class Log:
    """What a run logged.

    Attributes:
        scalars: of each tag, the values by outer iteration.
        seconds: from the first entry to the last, over all sittings of the run.
    """

    scalars: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    seconds: float = 0.0

    def last(self, tag: str) -> float | None:
        """Return a tag's last value; None if it was never logged."""
        points = self.scalars.get(tag)
        return points[max(points)] if points else None


def read(folder: Path) -> Log:
    """Return what the TensorBoard logs in a folder, and in those inside it, hold."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    scalars: dict[str, dict[int, float]] = {}
    seconds = 0.0
    for events in sorted(folder.rglob("events.out.tfevents.*")):
        log = EventAccumulator(str(events), size_guidance={"scalars": 0, "images": 1})
        log.Reload()
        times: list[float] = []
        for tag in log.Tags()["scalars"]:
            entries = log.Scalars(tag)
            scalars.setdefault(tag, {}).update({entry.step: entry.value for entry in entries})
            times += [entry.wall_time for entry in entries]
        seconds += max(times) - min(times) if times else 0.0
    return Log({tag: dict(sorted(points.items())) for tag, points in sorted(scalars.items())}, seconds)


def learning(log: Log, metric: str) -> "Figure | None":
    """Draw the metric after each number of inner steps, and on validation tasks, against outer iterations."""
    tags = [tag for tag in log.scalars if tag.startswith(f"{metric}/") or tag == f"validation/{metric}"]
    if not tags:
        return None
    figure = _figure()
    ax = figure.axes[0]
    for tag in tags:
        is_validation = tag.startswith("validation/")
        name = "validation" if is_validation else _stage(tag.removeprefix(f"{metric}/"))
        points = log.scalars[tag]
        marker = "o" if is_validation else _marker(points)
        ax.plot(*_xy(points), label=name, marker=marker, markersize=3, linewidth=1.4)
    if metric == "loss":
        ax.set_yscale("log")
    ax.set(xlabel="outer iterations", ylabel=metric)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    return figure


def speed(log: Log) -> "Figure | None":
    """Draw how many environment steps (or tasks) a second there were, and where an iteration's time went."""
    rates = [tag for tag in log.scalars if tag.startswith("time/") and tag.endswith("_per_second")]
    rates = [tag for tag in rates if tag != "time/iterations_per_second"]
    if not rates:
        return None
    figure = _figure(2)
    above, below = figure.axes
    unit = rates[0].removeprefix("time/").removesuffix("_per_second")
    above.plot(*_xy(log.scalars[rates[0]]), marker=_marker(log.scalars[rates[0]]), markersize=3, linewidth=1.4)
    above.set(ylabel=f"{UNITS.get(unit, unit)} a second", ylim=(0, None))
    parts = [part for part in PARTS if f"time/{part}_seconds" in log.scalars]
    if parts:
        columns = [_xy(log.scalars[f"time/{part}_seconds"]) for part in parts]
        below.stackplot(columns[0][0], *(seconds for _, seconds in columns), labels=[part.replace("_", " ") for part in parts])
    below.set(xlabel="outer iterations", ylabel="seconds an iteration", ylim=(0, None))
    figure.legend(*below.get_legend_handles_labels(), loc="outside right lower", fontsize="small")
    return figure


def adaptation(evaluation: Mapping[str, object]) -> "Figure":
    """Draw an evaluation: means over unseen tasks with their 95% intervals, after each inner step or episode of a trial.

    Args:
        evaluation: as ``Evaluation.as_dict`` gives it.
    """
    from matplotlib.ticker import MaxNLocator

    of_trial = evaluation.get("stage") == "episode"
    figure = _figure()
    ax = figure.axes[0]
    steps = [step + of_trial for step in evaluation["steps"]]  # type: ignore[attr-defined]
    ax.errorbar(steps, evaluation["mean"], evaluation["ci95"], fmt="o-", capsize=3, linewidth=1.4)  # type: ignore[arg-type]
    ax.set(xlabel="episode of a trial" if of_trial else "inner steps", ylabel=str(evaluation["metric"]))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _figure(rows: int = 1) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 2 + 1.9 * rows), layout="constrained")
    figure.subplots(rows, 1, sharex=True)
    for ax in figure.axes:
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _xy(points: Mapping[int, float]) -> tuple[list[int], list[float]]:
    return list(points), list(points.values())


def _stage(name: str) -> str:
    """Return what a legend calls a stage of the log."""
    return "after 1 step" if name == "after_1_steps" else name.replace("_", " ")


def _marker(points: Mapping[int, float]) -> str:
    """Return the mark of a curve's points: one is no line."""
    return "o" if len(points) == 1 else ""
