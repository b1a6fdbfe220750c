"""The learned optimiser: Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient descent"."""

from dataclasses import dataclass

from torch import nn

from metarl import rules
from metarl.adapters import Adapter, GradientAdapter, Meta
from metarl.adapters.starts import DrawnStart
from metarl.agents.base import Agent
from metarl.agents.options import GradientOptions
from metarl.learner import Layout, Learner
from metarl.rules import UpdateRule


class LearnedOptimiser(Agent):
    """Learns an LSTM that trains a network from random weights over many steps; see ``Agent`` for the arguments.

    Nothing else is learned: every task begins at weights of its own, in training and in testing. ``inner_steps`` is the horizon
    that the outer loop, ``metarl.TruncatedBackpropagation``, trains along.
    """

    @dataclass(frozen=True)
    class Options(GradientOptions):
        """What the learned optimiser takes."""

        inner_steps: int = 100
        """T, the steps of a training, and the horizon that the optimiser is trained for."""
        first_order: bool = True
        """Treat inner gradients as constants, as the paper does."""
        hidden: int = 20
        """The units of each of the LSTM's two layers."""
        preprocess: bool = True
        """Show the LSTM the gradient as logarithm and sign rather than as it is."""
        scale: float = 0.1
        """What the LSTM's output is multiplied with."""
        start: float | None = None
        """The deviation of the weights that a training begins with; like the network's own initialisation unless given."""

    default_outer = "truncated_backpropagation"

    def make_rule(self, layout: Layout) -> UpdateRule:
        """Return the LSTM."""
        options: LearnedOptimiser.Options = self.options
        return rules.LearnedOptimiser(layout, options.hidden, options.preprocess, options.scale)

    def make_adapter(self, network: nn.Module) -> tuple[Adapter, Meta]:
        """Return the rule's steps from weights that are drawn for every task, and where meta-learning starts."""
        options: LearnedOptimiser.Options = self.options
        learner = Learner(network, options.adapted, options.batch_norm)
        rule = self.make_rule(learner.layout).to(next(network.parameters()))
        start = DrawnStart.of(learner, network, options.start)
        adapter = GradientAdapter(
            self.source.problem, learner, rule, options.inner_steps, options.first_order, options.inner_clip, start
        )
        return adapter, adapter.initial_meta(network, rule)
