"""Reptile: Nichol, Achiam and Schulman 2018, "On First-Order Meta-Learning Algorithms"."""

from dataclasses import dataclass

from metarl.agents.base import Agent
from metarl.agents.options import GradientOptions
from metarl.learner import Layout
from metarl.rules import Adam, UpdateRule


class Reptile(Agent):
    """Takes Adam's steps without momentum on every task, and moves the start to where they lead; see ``Agent``.

    ``outer`` is a configured ``metarl.outer.Reptile(...)``, the default unless given. With plain gradient steps Reptile is
    ``MAML(..., outer="reptile")``; with any other rule that learns nothing of its own, ``Agent(..., outer="reptile")``.
    """

    default_outer = "reptile"

    @dataclass(frozen=True)
    class Options(GradientOptions):
        """What Reptile takes."""

        inner_steps: int = 5
        """T, the inner steps in training."""
        rate: float = 1e-3
        """Of Adam in the inner steps, whose first moment is the gradient itself (beta 1 of nought)."""

    def make_rule(self, layout: Layout) -> UpdateRule:
        """Return Adam without momentum."""
        return Adam(layout, self.options.rate, betas=(0.0, 0.999))
