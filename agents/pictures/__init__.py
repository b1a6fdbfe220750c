"""Pictures of an agent on a few unseen tasks, one file a kind: what its source of tasks and its adapter have to show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metarl.agents.pictures.unseen import Pictures as Pictures
from metarl.agents.pictures.unseen import Unseen as Unseen
from metarl.agents.pictures.unseen import adapt_to_unseen

if TYPE_CHECKING:
    from metarl.agents.base import Agent


def draw(agent: Agent) -> Pictures:
    """Return the pictures there are of an agent, by name: those of its tasks, and those of its adapter."""
    unseen = adapt_to_unseen(agent)
    return {**agent.source.pictures(agent, unseen), **agent.adapter_pictures(unseen)}
