"""Videos of an agent on unseen tasks: its policy before adaptation and as that goes on, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from metarl.agents.pictures.unseen import PICTURE_SEED, TASKS, adapt_to_unseen, chosen, stage_name
from metarl.agents.videos.panels import side_by_side
from metarl.agents.videos.playing import play, stride_of
from metarl.agents.videos.rendering import rendered
from metarl.agents.videos.rendering import require_renderer as require_renderer
from metarl.agents.videos.tensorboard import record as record
from metarl.agents.videos.tensorboard import takes_videos as takes_videos
from metarl.agents.videos.video import INSTALL as INSTALL
from metarl.agents.videos.video import Video as Video
from metarl.agents.videos.video import has_encoder as has_encoder
from metarl.errors import ConfigError, require_whole
from metarl.progress import Meter

if TYPE_CHECKING:
    from metarl.agents.base import Agent

PANELS = 4
"""Stages of the adaptation that are shown side by side, at most."""
STEPS = 3
"""Inner steps that are shown at least, as in MAML's figures, of a learner that takes any."""
NUMBERS = 4
"""Numbers of a task that a caption names, at most."""


def film(agent: Agent, tasks: int, steps: int | None = None, asked: str = "videos", is_shown: bool = False) -> dict[str, Video]:
    """Return a video of each of some unseen tasks, by name; see ``Agent.videos``.

    Args:
        agent: whose policy acts.
        tasks: how many, of those that the pictures show.
        steps: inner steps, or episodes of a trial that come before the last one.
        asked: what an error calls the wish for a video.
        is_shown: whether a bar shows how many episodes are drawn.
    """
    require_whole(tasks=tasks)
    if tasks > TASKS:
        raise ConfigError(f"tasks={tasks} is more than the {TASKS} unseen tasks that pictures and videos show")
    with rendered(agent, asked) as env:
        adapter = agent.over(agent.adapter.problem)
        if steps is None:
            steps = adapter.steps if adapter.stage == "episode" or not adapter.steps else max(STEPS, adapter.steps)
        unseen = adapt_to_unseen(agent, steps)
        stride = stride_of(env, agent.source)
        stages = chosen(steps + 1, PANELS)
        labels = [stage_name(adapter, stage) for stage in stages]
        rows = _different(unseen.tasks)[:tasks]
        videos = {}
        with Meter(len(rows) * len(stages)) if is_shown else nullcontext() as meter:
            for row in rows:
                episodes = []
                for stage in stages:
                    policy = agent.source.wrap(adapter, agent.meta, adapter.row(unseen.adaptation.adapted[stage], row))
                    episodes.append(play(policy, env, unseen.tasks[row], stride, seed=PICTURE_SEED + row))
                    if meter:
                        meter.advance(text="episodes drawn")
                fps = env.metadata.get("render_fps", 20) / stride
                videos[f"task_{row + 1}"] = side_by_side(episodes, labels, _caption(row, unseen.tasks[row]), fps)
    return videos


def _different(tasks: Sequence[Any]) -> list[int]:
    """Return the places of tasks in an order in which the same task comes a second time only after all others."""
    said = [repr(_entries(task)) for task in tasks]
    return sorted(range(len(tasks)), key=lambda row: said[:row].count(said[row]))


def _entries(task: Any) -> dict[str, list[float]]:
    """Return a task's numbers by name; none of a task that is no dictionary of numbers."""
    if not isinstance(task, Mapping):
        return {"": [hash(repr(task))]}
    return {str(name): np.asarray(value, dtype=float).flatten().tolist() for name, value in task.items()}


def _caption(row: int, task: Any) -> str:
    """Return what a video says of its task: its numbers, where they are few."""
    entries = _entries(task) if isinstance(task, Mapping) else {}
    if not entries or sum(map(len, entries.values())) > NUMBERS:
        return f"unseen task {row + 1}"
    said = [f"{name} {', '.join(f'{number:.2g}' for number in numbers)}" for name, numbers in entries.items()]
    return f"unseen task {row + 1}: {'; '.join(said)}"
