"""Meta-SGD: Li, Zhou, Chen and Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning"."""

from dataclasses import dataclass

from metarl import rules
from metarl.agents.base import Agent
from metarl.agents.options import GradientOptions
from metarl.learner import Layout
from metarl.rules import UpdateRule


class MetaSGD(Agent):
    """Learns an initialisation together with a rate for every parameter; see ``Agent`` for the arguments."""

    @dataclass(frozen=True)
    class Options(GradientOptions):
        """What Meta-SGD takes."""

        rate: float = 0.1
        """The value from which every rate starts."""

    def make_rule(self, layout: Layout) -> UpdateRule:
        """Return gradient descent with a rate for every parameter."""
        return rules.MetaSGD(layout, self.options.rate)
