"""Meta-SGD: Li, Zhou, Chen and Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning"."""

from typing import Any, Unpack

import gymnasium as gym
from torch import nn

from metarl.agents.base import Agent, AgentOptions
from metarl.rules import MetaSGD as MetaSGDRule


class MetaSGD(Agent):
    """Learns an initialisation together with a rate for every parameter.

    Args:
        policy: see ``Agent``.
        env: see ``Agent``.
        rate: the value from which every rate starts.
        options: what every agent takes; see ``Agent``.
    """

    def __init__(
        self, policy: str | nn.Module, env: str | gym.Env[Any, Any], *, rate: float = 0.1, **options: Unpack[AgentOptions]
    ) -> None:
        super().__init__(policy, env, rule=MetaSGDRule, rule_kwargs={"rate": rate}, **options)
