"""TURTLE: Huisman, Plaat and van Rijn 2022, "Stateless Neural Meta-Learning using Second-Order Gradients"."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from metarl import rules
from metarl.agents.base import Agent
from metarl.agents.options import GradientOptions
from metarl.learner import Layout
from metarl.rules import UpdateRule
from metarl.rules.turtle import Input, as_names


class TURTLE(Agent):
    """Learns an initialisation together with a small network that writes every coordinate's update.

    See ``Agent`` for the arguments.
    """

    @dataclass(frozen=True)
    class Options(GradientOptions):
        """What TURTLE takes."""

        hidden: Sequence[int] = (20, 20, 20, 20, 20)
        """The units of the network's hidden layers."""
        activation: str = "relu"
        """relu, tanh or elu."""
        inputs: Input | Sequence[Input] | None = None
        """What the network sees, by name; see metarl.rules.TURTLE. By default the gradient, and with more than one inner step
        its history and the time too, as the paper found best."""
        beta: float = 0.9
        """How much of the history's moving average stays at each step (the paper: 0.9 for 5 steps, 0.3 for 10)."""
        alpha: Literal["uniform", "ones", "fixed"] = "uniform"
        """The learned rates: uniform in [0, 1] or ones at the start, or fixed at one."""
        rate: float | None = None
        """Start as gradient descent with this rate; random weights as in the paper unless given."""

    def make_rule(self, layout: Layout) -> UpdateRule:
        """Return TURTLE's network."""
        options: TURTLE.Options = self.options
        steps = max(1, options.inner_steps)
        best: tuple[Input, ...] = ("gradient",) if steps == 1 else ("gradient", "gradient-history", "time")
        inputs = best if options.inputs is None else as_names(options.inputs)
        return rules.TURTLE(
            layout, options.hidden, options.activation, inputs, options.beta, options.alpha, options.rate, steps
        )
