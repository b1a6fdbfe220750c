"""What a checkpoint of an agent holds, and how an agent is made from it again: names, arguments and tensors, never code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from torch import nn

from metarl import outer as outer_loops
from metarl import rules
from metarl.errors import CheckpointError
from metarl.outer import OuterLoop
from metarl.problems import Rollouts
from metarl.rules import UpdateRule

if TYPE_CHECKING:
    from metarl.agents.base import Agent


def content(agent: Agent) -> dict[str, Any]:
    """Return everything that a resumed run needs, in plain containers and tensors."""
    return {
        "agent": type(agent).__name__,
        "arguments": agent.arguments,
        "meta": {name: value.detach().cpu() for name, value in agent.meta.items()},
        "running": {name: value.cpu() for name, value in agent.world.problem.learner.running.items()},
        "outer": agent.outer.state_dict(),
        "generator": agent.generator.get_state(),
        "device": agent.device.type,
        "iteration": agent.iteration,
        "num_timesteps": agent.num_timesteps,
        "best": agent.best,
    }


def arguments(
    path: str | os.PathLike[str],
    content: Mapping[str, Any],
    env: str | gym.Env[Any, Any] | None,
    policy: str | nn.Module | None,
    rule: type[UpdateRule] | None,
    outer: OuterLoop | None,
) -> dict[str, Any]:
    """Return the arguments that the agent was made with, and those handed in for what a checkpoint cannot hold.

    Raises:
        CheckpointError: something is needed that was not handed in.
    """
    made = dict(content["arguments"])
    for name, value in {"env": env, "policy": policy}.items():
        made[name] = value if value is not None else made[name]
        if made[name] is None:
            raise CheckpointError(f"checkpoint {path} was made with its own {name}: hand it in again, load(path, {name}=...)")
    found = rule or getattr(rules, made["rule"], None)
    if found is None:
        raise CheckpointError(f"checkpoint {path} was made with the rule {made['rule']}: hand it in, load(path, rule=...)")
    if isinstance(made["env"], gym.Env):
        made["env_kwargs"] = {}
    loop = dict(made["outer"])
    name = loop.pop("name")
    if outer is None and not hasattr(outer_loops, name):
        raise CheckpointError(f"checkpoint {path} was made with the outer loop {name}: hand it in, load(path, outer=...)")
    made["outer"] = getattr(outer_loops, name).of(loop) if outer is None else outer
    made["rollouts"] = None if made["rollouts"] is None else Rollouts(**made["rollouts"])
    made["rule"] = found
    return made


def restore(path: str | os.PathLike[str], content: Mapping[str, Any], agent: Agent) -> None:
    """Give a new agent the checkpoint's state.

    Raises:
        CheckpointError: the state is of another policy.
    """
    shapes = {name: tuple(value.shape) for name, value in content["meta"].items()}
    ours = {name: tuple(value.shape) for name, value in agent.meta.items()}
    if shapes != ours:
        raise CheckpointError(
            f"checkpoint {path} holds meta-parameters {shapes}, but this agent has {ours}: hand in the same policy"
        )
    agent._set_meta(content["meta"], content.get("running", {}))
    agent.outer.load_state_dict(content["outer"])
    if agent.device.type == content["device"]:
        agent.generator.set_state(content["generator"])
    else:  # another kind of device has another kind of generator: a new stream, not the old one again
        agent.generator.manual_seed(agent.seed + 2**32 * content["iteration"])
    agent.iteration, agent.num_timesteps, agent.best = content["iteration"], content["num_timesteps"], content["best"]
