"""TURTLE: Huisman, Plaat and van Rijn 2022, "Stateless Neural Meta-Learning using Second-Order Gradients"."""

from collections.abc import Sequence
from typing import Any, Literal, Unpack

import gymnasium as gym
from torch import nn

from metarl import rules
from metarl.agents.base import Agent, AgentOptions
from metarl.rules.turtle import Input, as_names


class TURTLE(Agent):
    """Learns an initialisation together with a small network that writes every coordinate's update.

    Args:
        policy: see ``Agent``.
        env: see ``Agent``.
        hidden: the widths of the network's hidden layers.
        activation: ``"relu"``, ``"tanh"`` or ``"elu"``.
        inputs: what the network sees, by name; see ``metarl.rules.TURTLE``. By default the gradient, and with more than one
            inner step its history and the time too, as the paper found best.
        beta: how much of the history's moving average stays at each step (the paper: 0.9 for 5 steps, 0.3 for 10).
        alpha: the learned rates: ``"uniform"`` or ``"ones"`` at the start, or ``"fixed"`` at one.
        rate: start as gradient descent with this rate; None for random weights as in the paper.
        options: what every agent takes; see ``Agent``.
    """

    def __init__(
        self,
        policy: str | nn.Module,
        env: str | gym.Env[Any, Any],
        *,
        hidden: Sequence[int] = (20, 20, 20, 20, 20),
        activation: str = "relu",
        inputs: Input | Sequence[Input] | None = None,
        beta: float = 0.9,
        alpha: Literal["uniform", "ones", "fixed"] = "uniform",
        rate: float | None = None,
        **options: Unpack[AgentOptions],
    ) -> None:
        steps = options.get("inner_steps", 1)
        best: tuple[Input, ...] = ("gradient",) if steps == 1 else ("gradient", "gradient-history", "time")
        rule_kwargs = {
            "hidden": list(hidden) if isinstance(hidden, Sequence) else hidden,
            "activation": activation,
            "inputs": list(best if inputs is None else as_names(inputs)),
            "beta": beta,
            "alpha": alpha,
            "rate": rate,
            "steps": steps,
        }
        super().__init__(policy, env, rule=rules.TURTLE, rule_kwargs=rule_kwargs, **options)
