"""A few unseen tasks, adapted to: what all pictures of an agent are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from matplotlib.figure import Figure

from metarl import processes
from metarl.adapters import Adaptation, Adapter
from metarl.problems.base import Tasks
from metarl.streams import stream

if TYPE_CHECKING:
    from metarl.agents.base import Agent

Pictures = dict[str, Figure]
"""By name."""
PICTURE_SEED = 2**21
TASKS = 4
EPISODES = 2
"""Of these tasks, how many are drawn one by one: the same in every picture of episodes."""


@dataclass(frozen=True)
class Unseen:
    """What became of a few unseen tasks.

    Attributes:
        tasks: a meta-batch of ``TASKS``.
        adaptation: what adapting to them did.
        query: their query experience, collected by what they became.
    """

    tasks: Tasks
    adaptation: Adaptation
    query: Any


def adapt_to_unseen(agent: Agent, steps: int | None = None) -> Unseen:
    """Adapt to a few unseen tasks, the same ones and with the same noise at every call; by other steps than in training too."""
    generator = stream(PICTURE_SEED, "pictures", agent.device)
    tasks = agent.source.sample(TASKS, "test", generator)
    with torch.no_grad(), processes.alone():
        adapter = agent.over(agent.adapter.problem)
        adaptation = adapter.adapt(agent.meta, tasks, generator, steps)
        query = adapter.collect(agent.meta, adaptation.adapted[-1], tasks, generator)
    return Unseen(tasks, adaptation, query)


def after(steps: int) -> str:
    """Return what a legend calls the time after so many inner steps."""
    return f"after {steps} step{'s' * (steps != 1)}"


def stage_name(adapter: Adapter, step: int) -> str:
    """Return what a legend calls an adapter's experience after so many inner steps or episodes of a trial."""
    if adapter.stage == "episode":
        return f"episode {step + 1}"
    return after(step) if step else "before"


def chosen(count: int, most: int) -> list[int]:
    """Return which of ``count`` things are drawn, as numbers from 0: all, or ``most`` from the first to the last."""
    return list(range(count)) if count <= most else [round(i * (count - 1) / (most - 1)) for i in range(most)]
