"""MAML: Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks"."""

from dataclasses import dataclass

from metarl.agents.base import Agent
from metarl.agents.options import RateOptions
from metarl.learner import Layout
from metarl.rules import GradientDescent, UpdateRule
from metarl.rules.gradient_descent import Granularity


class MAML(Agent):
    """Learns an initialisation from which gradient descent adapts quickly; see ``Agent`` for the arguments."""

    @dataclass(frozen=True)
    class Options(RateOptions):
        """What MAML takes."""

        learned: Granularity = "fixed"
        """Which rates are meta-learned too: none, one (global), or one by step, layer, or both."""

    def make_rule(self, layout: Layout) -> UpdateRule:
        """Return gradient descent."""
        options: MAML.Options = self.options
        return GradientDescent(layout, options.rate, options.learned, max(1, options.inner_steps))
