"""Agents that differ only in their seed, trained side by side: the seeds are one more batched axis before the tasks."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from metarl.adaptation import Meta
from metarl.agents.base import Agent
from metarl.agents.worlds import EpisodeWorld
from metarl.errors import ConfigError, require_positive
from metarl.outer import GradientDescent
from metarl.outer.gradient_descent import ELEMENTWISE, compiled


def learn_side_by_side(
    agents: Sequence[Agent],
    iterations: int,
    validate_every: int = 0,
    validation_tasks: int = 100,
    on_step: Callable[[int], None] | None = None,
) -> list[int]:
    """Take the outer steps that each agent's ``learn`` would take, all agents in one batch, without log and callbacks.

    Each agent draws its own tasks from its own generator and ends with its own meta-parameters, optimiser state and best
    iterate, as if it had learned alone (up to rounding). An agent whose loss is not finite stops there, as ``learn`` would,
    and the others go on. If the learning is stopped, by an error or from the keyboard, every agent is as after its last step.

    Args:
        agents: predictors under ``GradientDescent``, alike but for their seed and initial parameters, made by name.
        iterations: how many outer steps.
        validate_every: outer steps between validations, which keep each agent's best iterate; 0 for none.
        validation_tasks: how many tasks each uses.
        on_step: called with the number of steps taken, after each.

    Returns:
        The iterations that each agent has taken in all.

    Raises:
        ConfigError: agents that cannot learn side by side.
    """
    require_positive(iterations=iterations, validation_tasks=validation_tasks)
    first = _alike(agents)
    inner, batch = first.inner, first.meta_batch
    outer = copy.deepcopy(first.outer)
    assert isinstance(outer, GradientDescent)
    meta = {name: torch.stack([agent.meta[name].detach() for agent in agents]).requires_grad_(True) for name in first.meta}
    states = [agent.outer.state_dict() for agent in agents]
    outer.start(meta)
    outer.load_state_dict(_stack_states(states))

    def gradient(meta: Meta, support: Any, query: Any) -> tuple[Tensor, Tensor, Meta]:
        return outer.gradient(inner, meta, [support] * inner.steps, query)

    batched = torch.vmap(gradient)
    if outer.compile:
        batched = compiled(batched)
    ended: dict[int, dict[str, Any]] = {}
    """The optimiser states of the agents that stopped."""
    try:
        for step in range(1, iterations + 1):
            before = [agent.generator.get_state() for agent in agents]
            drawn = [agent.world.sample(batch, "train", agent.generator, agent.iteration * batch) for agent in agents]
            tasks = tree_map(lambda *rows: torch.stack(rows), *drawn)
            query = inner.problem.collect(meta["theta"], tasks, "query", first.generator)
            loss, norm, gradients = batched({name: value.detach() for name, value in meta.items()}, tasks.support, query)
            finite = (loss.isfinite() & norm.isfinite()).tolist()
            for row, agent in enumerate(agents):
                if row not in ended and not finite[row]:
                    ended[row] = _state_of(outer.state_dict(), row)
                if row in ended:
                    agent.generator.set_state(before[row])
            if len(ended) == len(agents):
                break
            alive = torch.tensor([row not in ended for row in range(len(agents))], device=first.device)
            _apply(outer, meta, gradients, alive if ended else None)
            for row, agent in enumerate(agents):
                agent.iteration += row not in ended
                agent.num_timesteps += batch * (row not in ended)
            if validate_every and step % validate_every == 0:
                _hand_back(agents, meta)
                for row, agent in enumerate(agents):
                    if row not in ended:
                        agent.validate(validation_tasks)
            if on_step is not None:
                on_step(step)
    finally:
        _hand_back(agents, meta)
        stacked = outer.state_dict()
        for row, agent in enumerate(agents):
            agent.outer.load_state_dict(ended[row] if row in ended else _state_of(stacked, row))
    return [agent.iteration for agent in agents]


def _alike(agents: Sequence[Agent]) -> Agent:
    """Return the first agent, if all are predictors that differ only in seed and initial parameters."""
    if not agents:
        raise ConfigError("agents=[] is empty: give at least one")
    first = agents[0]
    if not isinstance(first.outer, GradientDescent) or not isinstance(first.world, EpisodeWorld):
        raise ConfigError(
            f"{type(first).__name__} with {type(first.outer).__name__} cannot learn side by side: "
            "only predictors under GradientDescent can; call learn() of each"
        )
    if first.world.learner.batch_norm == "running":
        raise ConfigError("batch_norm='running': running averages are each agent's own; call learn() of each")
    if type(first).learn is not Agent.learn:
        raise ConfigError(f"{type(first).__name__} learns in its own way: call learn() of each")
    if first.world.problem.support_batch is not None:
        raise ConfigError("support_batch: each agent draws its own batches; call learn() of each")
    if first.outer.optimizer not in ELEMENTWISE:
        raise ConfigError(
            f"optimizer={first.outer.optimizer!r} does not treat every number by itself, so agents cannot share a step: "
            f"use one of {', '.join(ELEMENTWISE)}"
        )
    for name in ("policy", "env"):
        if any(agent.arguments[name] is None for agent in agents):
            raise ConfigError(f"{name}: only agents that were given it by name can be seen to be alike; give its name")
    if len({id(agent) for agent in agents}) < len(agents):
        raise ConfigError("agents has one agent twice: give each once")
    for agent in agents[1:]:
        differ = [name for name, value in agent.arguments.items() if value != first.arguments[name] and name != "seed"]
        differ += [name for name in ("iteration", "device") if getattr(agent, name) != getattr(first, name)]
        if differ:
            raise ConfigError(f"agents differ in {', '.join(differ)}: only the seed may differ")
    return first


def _apply(outer: GradientDescent, meta: Meta, gradients: Meta, alive: Tensor | None) -> None:
    """Let the optimiser move the agents that are alive; None for all."""
    if alive is None:
        outer.apply(meta, gradients)
        return

    def where(ours: Tensor, other: Tensor | float) -> Tensor:
        return torch.where(alive.view(-1, *[1] * (ours.ndim - 1)), ours, other)

    kept = {name: value.detach().clone() for name, value in meta.items()}
    outer.apply(meta, {name: where(value, 0.0) for name, value in gradients.items()})
    with torch.no_grad():
        for name, value in meta.items():
            value.copy_(where(value, kept[name]))


def _hand_back(agents: Sequence[Agent], meta: Meta) -> None:
    for row, agent in enumerate(agents):
        agent._set_meta({name: value[row] for name, value in meta.items()}, {})


def _stack_states(states: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the agents' optimiser states as one, with the seeds' axis first."""
    return _each(states[0], lambda parameter, key: torch.stack([state["state"][parameter][key] for state in states]))


def _state_of(stacked: dict[str, Any], row: int) -> dict[str, Any]:
    """Return one agent's optimiser state."""
    return _each(stacked, lambda parameter, key: stacked["state"][parameter][key][row].clone())


def _each(state: dict[str, Any], change: Callable[[Any, str], Tensor]) -> dict[str, Any]:
    """Return an optimiser's state with every tensor changed but the count of steps, in which agents are alike."""

    def entry(parameter: Any, key: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.clone() if key == "step" else change(parameter, key)

    changed = {
        parameter: {key: entry(parameter, key, value) for key, value in values.items()}
        for parameter, values in state["state"].items()
    }
    return {**state, "state": changed}
