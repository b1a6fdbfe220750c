"""MAML: Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks"."""

from collections.abc import Sequence
from typing import Any, Unpack

import gymnasium as gym
from torch import nn

from metarl.agents.base import Agent, AgentOptions
from metarl.rules import GradientDescent
from metarl.rules.gradient_descent import Granularity


class MAML(Agent):
    """Learns an initialisation from which gradient descent adapts quickly.

    Args:
        policy: see ``Agent``.
        env: see ``Agent``.
        rate: alpha, the inner rate: one for all steps, or one for each.
        learned: which rates are meta-learned too: ``"fixed"``, ``"global"``, ``"step"``, ``"layer"`` or ``"layer-step"``.
        options: what every agent takes, ``first_order`` among them; see ``Agent``.
    """

    def __init__(
        self,
        policy: str | nn.Module,
        env: str | gym.Env[Any, Any],
        *,
        rate: float | Sequence[float] = 0.1,
        learned: Granularity = "fixed",
        **options: Unpack[AgentOptions],
    ) -> None:
        plain = list(rate) if isinstance(rate, Sequence) else rate
        rule_kwargs = {"rate": plain, "learned": learned, "steps": max(1, options.get("inner_steps", 1))}
        super().__init__(policy, env, rule=GradientDescent, rule_kwargs=rule_kwargs, **options)
