"""The LSTM meta-learner: Ravi and Larochelle 2017, "Optimization as a Model for Few-Shot Learning"; and its enhanced form."""

from dataclasses import dataclass
from typing import ClassVar

from metarl import rules
from metarl.agents.base import Agent
from metarl.agents.options import GradientOptions
from metarl.learner import Layout
from metarl.rules import UpdateRule


class MetaLSTM(Agent):
    """Learns an initialisation together with an LSTM that gates every coordinate's steps; see ``Agent`` for the arguments.

    As in the paper, gradients and losses are preprocessed and taken as constants (``first_order=True``).
    """

    @dataclass(frozen=True)
    class Options(GradientOptions):
        """What the LSTM meta-learner takes."""

        hidden: int = 20
        """The units of the LSTM."""
        rate: float | None = None
        """Start as gradient descent with this rate, in (0, 1); the paper's random biases unless given."""
        first_order: bool = True
        """Treat inner gradients and losses as constants, as the paper does."""

    preprocess: ClassVar[bool] = True
    """Whether the LSTM sees gradient and loss as logarithm and sign, or the raw gradient."""

    def make_rule(self, layout: Layout) -> UpdateRule:
        """Return the LSTM."""
        return rules.MetaLSTM(layout, self.options.hidden, self.preprocess, self.options.rate)


class MetaLSTM2(MetaLSTM):
    """The enhanced LSTM meta-learner: raw gradients, second order, 8 updates (Huisman et al. 2022, section 5.3)."""

    @dataclass(frozen=True)
    class Options(MetaLSTM.Options):
        """What the enhanced LSTM meta-learner takes."""

        inner_steps: int = 8
        """T, the inner steps in training."""
        first_order: bool = False
        """Treat inner gradients and losses as constants."""

    preprocess = False
