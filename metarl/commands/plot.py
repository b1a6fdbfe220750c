"""metarl plot: draw a run's curves, adaptation and what its rule learned, as pictures."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.console import Console

from metarl.commands.evaluate import load
from metarl.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """Draw the learning curve, adaptation on unseen tasks, and what the rule learned: its updates, gates and rates by layer."""

    run_dir: tyro.conf.Positional[str]
    """A run folder that `metarl train` left."""
    out: str = ""
    """Where the pictures go; the run folder by default."""
    root: str = ""
    """The folder of an image data set, if other than in training."""
    last: bool = False
    """The last iterate instead of the best by validation; rates that are tuned (Baseline-finetune's) are tuned for it."""


def main(arguments: list[str]) -> int:
    """Run the command."""
    asked = tyro.cli(Plot, args=arguments, prog="metarl plot")
    folder = Path(asked.run_dir)
    if not folder.is_dir():
        raise ConfigError(f"run_dir={asked.run_dir} is not a folder: give a run folder that `metarl train` left")
    out = Path(asked.out or folder)
    out.mkdir(parents=True, exist_ok=True)
    with closing(load(asked.run_dir, asked.last, root=asked.root)) as agent:
        pictures = {"curve": _curve(folder, agent.adapter.problem.metric), **agent.pictures()}
    for name, picture in pictures.items():
        if picture is not None:
            path = out / f"{name}.png"
            picture.savefig(path, dpi=120)
            Console(soft_wrap=True).print(f"{name}: {path}")
    return 0


def _curve(folder: Path, name: str) -> "Figure | None":
    """Draw the return or loss after each number of inner steps against iterations, from the TensorBoard logs."""
    from matplotlib.figure import Figure
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves: dict[str, dict[int, float]] = {}
    for events in sorted(folder.rglob("events.out.tfevents.*")):
        log = EventAccumulator(str(events), size_guidance={"scalars": 0})
        log.Reload()
        for tag in log.Tags()["scalars"]:
            if tag.startswith(f"{name}/") or tag == f"validation/{name}":
                curves.setdefault(tag, {}).update({event.step: event.value for event in log.Scalars(tag)})
    if not curves:
        return None
    picture = Figure(figsize=(7, 4.5), layout="constrained")
    ax = picture.subplots()
    for tag, points in sorted(curves.items()):
        steps = sorted(points)
        ax.plot(steps, [points[step] for step in steps], label=tag.replace("_", " "))
    if name == "loss":
        ax.set_yscale("log")
    ax.set(xlabel="outer iterations", ylabel=name)
    ax.grid(alpha=0.3)
    ax.legend()
    return picture
