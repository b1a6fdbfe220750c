"""Alpha MAML: Behl, Baydin and Torr 2019, "Alpha MAML: Adaptive Model-Agnostic Meta-Learning"."""

from collections.abc import Sequence
from typing import Any, Literal, Unpack

import gymnasium as gym
from torch import nn

from metarl.agents.base import Agent, CommonOptions
from metarl.errors import ConfigError, unknown_name
from metarl.outer import TRPO, HypergradientDescent
from metarl.rules import GradientDescent

LOOPS = ("gradient_descent", "policy_gradient", "trpo")


class AlphaMAML(Agent):
    """MAML whose inner rate alpha and outer rate beta move by hypergradients while it learns.

    Args:
        policy: see ``Agent``.
        env: see ``Agent``.
        rate: alpha at the start: one for all steps, or one for each.
        learned: which rates alpha stands for: ``"global"``, one as in the paper; ``"step"``, ``"layer"`` or ``"layer-step"``.
        outer: a configured ``HypergradientDescent(...)``; or ``"gradient_descent"``, ``"policy_gradient"`` (the default) or
            ``"trpo"`` for one with its defaults.
        options: what every agent takes; see ``Agent``.

    Raises:
        ConfigError: an outer loop that moves no rates.
    """

    def __init__(
        self,
        policy: str | nn.Module,
        env: str | gym.Env[Any, Any],
        *,
        rate: float | Sequence[float] = 0.1,
        learned: Literal["global", "step", "layer", "layer-step"] = "global",
        outer: str | HypergradientDescent = "gradient_descent",
        **options: Unpack[CommonOptions],
    ) -> None:
        if isinstance(outer, str):
            if outer not in LOOPS:
                raise unknown_name("outer", outer, LOOPS)
            outer = HypergradientDescent(trpo=TRPO() if outer == "trpo" else None)
        if not isinstance(outer, HypergradientDescent):
            raise ConfigError(f"outer={outer!r} moves no rates: give AlphaMAML a metarl.HypergradientDescent(...)")
        if learned not in ("global", "step", "layer", "layer-step"):
            raise ConfigError(f"learned={learned!r} must be 'global', 'step', 'layer' or 'layer-step': what alpha stands for")
        plain = list(rate) if isinstance(rate, Sequence) else rate
        rule_kwargs = {"rate": plain, "learned": learned, "steps": max(1, options.get("inner_steps", 1))}
        super().__init__(policy, env, rule=GradientDescent, rule_kwargs=rule_kwargs, outer=outer, **options)
