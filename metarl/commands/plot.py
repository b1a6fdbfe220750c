"""metarl plot: draw a run's curves, adaptation and what its rule learned, as pictures and videos."""

import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.console import Console

from metarl.commands import curves
from metarl.commands.evaluate import load
from metarl.commands.run_folder import EVALUATION
from metarl.errors import ConfigError

if TYPE_CHECKING:
    from metarl.agents import Agent

TASKS = 2
"""Unseen tasks that are filmed."""


@dataclass(frozen=True)
class Plot:
    """Draw the learning curve, adaptation on unseen tasks, and what the rule learned: its updates, gates and rates by layer."""

    run_dir: tyro.conf.Positional[str]
    """A run folder that `metarl train` left."""
    out: str = ""
    """Where the pictures go; the run folder by default."""
    root: str = ""
    """The folder of an image data set, if other than in training."""
    video: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Videos too: a policy on unseen tasks before adaptation and after it; MP4 with pip install 'metarl[video]', else GIF."""
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
    console = Console(soft_wrap=True)
    with closing(load(asked.run_dir, asked.last, root=asked.root)) as agent:
        if asked.video:
            _film(agent, out, console)
        log = curves.read(folder)
        pictures = {"curve": curves.learning(log, agent.adapter.problem.metric), "speed": curves.speed(log), **agent.pictures()}
    if (folder / EVALUATION).is_file():
        pictures["evaluation"] = curves.adaptation(json.loads((folder / EVALUATION).read_text()))
    for name, picture in pictures.items():
        if picture is not None:
            path = out / f"{name}.png"
            picture.savefig(path, dpi=120)
            console.print(f"{name}: {path}")
    return 0


def _film(agent: "Agent", out: Path, console: Console) -> None:
    """Write the videos."""
    from metarl.agents.videos import INSTALL, film, has_encoder

    for name, video in film(agent, TASKS, asked="--video", is_shown=True).items():
        console.print(f"{name}: {video.save(out / name)}")
    if not has_encoder():
        console.print(f"videos are GIFs; {INSTALL} makes them MP4, smaller and with more colours", markup=False)
