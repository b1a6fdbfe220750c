"""Alpha MAML: Behl, Baydin and Torr 2019, "Alpha MAML: Adaptive Model-Agnostic Meta-Learning"."""

from dataclasses import dataclass
from typing import Literal

from metarl.agents.base import Agent
from metarl.agents.options import RateOptions
from metarl.errors import ConfigError, unknown_name
from metarl.learner import Layout
from metarl.outer import TRPO, HypergradientDescent, OuterLoop
from metarl.rules import GradientDescent, UpdateRule

DIRECTIONS = ("hypergradient_descent", "gradient_descent", "policy_gradient", "trpo")


class AlphaMAML(Agent):
    """MAML whose inner rate alpha and outer rate beta move by hypergradients while it learns.

    See ``Agent`` for the arguments; ``outer`` is a configured ``HypergradientDescent(...)``, or ``"trpo"`` for one that takes
    TRPO's direction. ``"gradient_descent"``, ``"policy_gradient"`` and ``"hypergradient_descent"`` are the default.

    Raises:
        ConfigError: an outer loop that moves no rates.
    """

    @dataclass(frozen=True)
    class Options(RateOptions):
        """What Alpha MAML takes."""

        learned: Literal["global", "step", "layer", "layer-step"] = "global"
        """What alpha stands for: one rate as in the paper (global), or one by step, layer, or both."""

    def make_rule(self, layout: Layout) -> UpdateRule:
        """Return gradient descent with rates that can be moved."""
        options: AlphaMAML.Options = self.options
        return GradientDescent(layout, options.rate, options.learned, max(1, options.inner_steps))

    def make_outer(self, outer: str | OuterLoop | None) -> OuterLoop:
        """Return hypergradient descent, along an optimiser's direction or TRPO's."""
        if outer is None or isinstance(outer, str):
            if outer is not None and outer not in DIRECTIONS:
                raise unknown_name("outer", outer, DIRECTIONS)
            outer = HypergradientDescent(trpo=TRPO() if outer == "trpo" else None)
        if not isinstance(outer, HypergradientDescent):
            raise ConfigError(f"outer={outer!r} moves no rates: give AlphaMAML a metarl.HypergradientDescent(...)")
        return outer
