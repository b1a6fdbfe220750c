"""The LSTM meta-learner: Ravi and Larochelle 2017, "Optimization as a Model for Few-Shot Learning"; and its enhanced form."""

from typing import Any, Unpack

import gymnasium as gym
from torch import nn

from metarl import rules
from metarl.agents.base import Agent, AgentOptions


class MetaLSTM(Agent):
    """Learns an initialisation together with an LSTM that gates every coordinate's steps.

    As in the paper, gradients and losses are preprocessed and taken as constants (``first_order=True``).

    Args:
        policy: see ``Agent``.
        env: see ``Agent``.
        hidden: the units of the LSTM.
        rate: start as gradient descent with this rate, in (0, 1); None for the paper's random biases.
        options: what every agent takes; see ``Agent``.
    """

    def __init__(
        self,
        policy: str | nn.Module,
        env: str | gym.Env[Any, Any],
        *,
        hidden: int = 20,
        rate: float | None = None,
        **options: Unpack[AgentOptions],
    ) -> None:
        rule_kwargs = {"hidden": hidden, "preprocess": True, "rate": rate}
        options.setdefault("first_order", True)
        super().__init__(policy, env, rule=rules.MetaLSTM, rule_kwargs=rule_kwargs, **options)


class MetaLSTM2(Agent):
    """The enhanced LSTM meta-learner: raw gradients, second order, 8 updates (Huisman et al. 2022, section 5.3).

    Args:
        policy: see ``Agent``.
        env: see ``Agent``.
        hidden: the units of the LSTM.
        rate: start as gradient descent with this rate, in (0, 1); None for the paper's random biases.
        options: what every agent takes; see ``Agent``. ``inner_steps`` is 8 unless given.
    """

    def __init__(
        self,
        policy: str | nn.Module,
        env: str | gym.Env[Any, Any],
        *,
        hidden: int = 20,
        rate: float | None = None,
        **options: Unpack[AgentOptions],
    ) -> None:
        rule_kwargs = {"hidden": hidden, "preprocess": False, "rate": rate}
        options.setdefault("inner_steps", 8)
        super().__init__(policy, env, rule=rules.MetaLSTM, rule_kwargs=rule_kwargs, **options)
