"""metarl evaluate: measure a trained agent on unseen tasks."""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from rich.console import Console

from metarl.commands.options import JSON
from metarl.files import require_folder, whole
from metarl.tasks import Split

if TYPE_CHECKING:
    from metarl.agents import Agent


@dataclass(frozen=True)
class Evaluate:
    """Measure returns, accuracies or losses after 0, 1, ... inner steps on unseen tasks."""

    path: tyro.conf.Positional[str]
    """A run folder, or a checkpoint."""
    tasks: int = 600
    """How many tasks."""
    steps: int | None = None
    """Inner steps; as in training unless given."""
    split: Split = "test"
    """Which tasks."""
    env: str = ""
    """Another family than in training, of the same shapes: cross-domain."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """The environment's arguments where they differ from training, such as '{"shots": 5}'; all of another family's."""
    root: str = ""
    """The folder of an image data set, if other than in training."""
    repeats: int = 1
    """Adaptations to each task with new data."""
    seed: int | None = None
    """Of tasks and noise; unless given the same for all, which pairs agents."""
    last: bool = False
    """The last iterate instead of the best by validation; rates that are tuned (Baseline-finetune's) are tuned for it."""
    device: str = "auto"
    """auto, cpu or cuda."""
    json: Annotated[str, tyro.conf.arg(metavar="FILE")] = ""
    """Write the numbers to a file too."""


def load(path: str, last: bool = False, device: str = "auto", root: str = "") -> "Agent":
    """Return the agent of a run folder or checkpoint: its best iterate or the last, tuned if it tunes."""
    from metarl.agents import Agent
    from metarl.commands.train import tune

    agent: Agent = Agent.load(path, device=device, env_kwargs={"root": root} if root else None)
    if not last:
        agent.restore_best()
    tune(agent, Console(stderr=True))
    return agent


def main(arguments: list[str]) -> int:
    """Run the command."""
    asked = tyro.cli(Evaluate, args=arguments, prog="metarl evaluate", registry=JSON)
    if asked.json:
        require_folder("json", asked.json)
    env_kwargs = {**asked.env_kwargs, **({"root": asked.root} if asked.env and asked.root else {})}
    with closing(load(asked.path, asked.last, asked.device, asked.root)) as agent:
        evaluation = agent.evaluate(
            asked.tasks,
            asked.steps,
            split=asked.split,
            repeats=asked.repeats,
            env=asked.env or None,
            env_kwargs=env_kwargs or None,
            progress_bar=True,
            **({} if asked.seed is None else {"seed": asked.seed}),
        )
    Console().print(str(evaluation), highlight=False)
    if asked.json:
        with whole(asked.json) as path:
            path.write_text(json.dumps(evaluation.as_dict(), indent=2) + "\n")
    return 0
