"""metarl evaluate: measure a trained agent on unseen tasks."""

import json
from dataclasses import dataclass, field
from typing import Annotated

import tyro
from rich.console import Console

from metarl.agents import Agent
from metarl.agents.base import EVALUATION_SEED
from metarl.commands.presets import Json
from metarl.files import require_folder, whole
from metarl.tasks import Split


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
    env_kwargs: Json = field(default_factory=dict)
    """The environment's arguments where they differ from training, such as '{"shots": 5}'; all of another family's."""
    root: str = ""
    """The folder of an image data set, if other than in training."""
    repeats: int = 1
    """Adaptations to each task with new data."""
    seed: int = EVALUATION_SEED
    """Of tasks and noise; the same seed pairs two agents."""
    last: bool = False
    """The last iterate instead of the best by validation."""
    device: str = "auto"
    """auto, cpu or cuda."""
    json: Annotated[str, tyro.conf.arg(metavar="FILE")] = ""
    """Write the figures to a file too."""


def load(path: str, last: bool = False, device: str = "auto", root: str = "") -> Agent:
    """Return the agent of a run folder or checkpoint, at its best iterate unless the last is wanted."""
    agent = Agent.load(path, device=device, env_kwargs={"root": root} if root else None)
    return agent if last else agent.restore_best()


def main(arguments: list[str]) -> int:
    """Run the command."""
    given = tyro.cli(Evaluate, args=arguments, prog="metarl evaluate")
    if given.json:
        require_folder("json", given.json)
    agent = load(given.path, given.last, given.device, given.root)
    env_kwargs = given.env_kwargs | ({"root": given.root} if given.env and given.root else {})
    evaluation = agent.evaluate(
        given.tasks,
        given.steps,
        split=given.split,
        seed=given.seed,
        repeats=given.repeats,
        env=given.env or None,
        env_kwargs=env_kwargs or None,
    )
    Console().print(str(evaluation), highlight=False)
    if given.json:
        with whole(given.json) as path:
            path.write_text(json.dumps(evaluation.as_dict(), indent=2) + "\n")
    return 0
