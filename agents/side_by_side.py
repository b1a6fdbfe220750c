"""Agents that differ only in their seed, trained side by side: the seeds are one more batched axis before the tasks."""

from collections.abc import Callable, Sequence

from torch import Tensor

from metarl.agents import training
from metarl.agents.base import Agent
from metarl.errors import ConfigError, NonFiniteError, require_whole


def learn_side_by_side(
    agents: Sequence[Agent],
    iterations: int,
    validate_every: int = 0,
    validation_tasks: int = 100,
    on_step: Callable[[int], None] | None = None,
) -> list[int]:
    """Take the outer steps that each agent's ``learn`` would take, all agents in one batch, without log and callbacks.

    Each agent draws its own tasks and noise and ends with its own meta-parameters, outer state and best iterate, as if it had
    learned alone (up to rounding). Outer loops that can take the agents as one more batched axis do so, the others take them
    in turn. An agent whose loss is not finite stops there, as ``learn`` would, and the others go on. If the learning is
    stopped, by an error or from the keyboard, every agent is as after its last step.

    Args:
        agents: alike but for their seed, made by name.
        iterations: how many outer steps.
        validate_every: outer steps between validations, which keep each agent's best iterate; 0 for none.
        validation_tasks: how many tasks each uses.
        on_step: called with the number of steps taken, after each.

    Returns:
        The iterations that each agent has taken in all.

    Raises:
        ConfigError: agents that cannot learn side by side.
    """
    require_whole(iterations=iterations, validation_tasks=validation_tasks)
    first = _alike(agents)
    learning, first_iteration = list(agents), first.iteration
    for step in range(1, iterations + 1):
        before = [(agent, training.stream_states(agent)) for agent in learning]
        try:
            learning = _step(learning, before)
        except BaseException:
            for agent, states in before:
                if agent.iteration < first_iteration + step:
                    training.set_streams(agent, states)
            raise
        if not learning:
            break
        if validate_every and step % validate_every == 0:
            for agent in learning:
                agent.validate(validation_tasks)
        if on_step is not None:
            on_step(step)
    return [agent.iteration for agent in agents]


def _step(learning: list[Agent], before: list[tuple[Agent, dict[str, Tensor]]]) -> list[Agent]:
    """Let every agent take one outer step, and return those that could; the others are as before it."""
    gathered = []
    for agent, states in before:
        try:
            gathered.append((agent, states, *training.gather(agent, report=False)))
        except NonFiniteError:
            training.set_streams(agent, states)
    if not gathered:
        return []
    first = learning[0]
    results = first.outer.improve_together(
        first.adapter,
        [agent.meta for agent, *_ in gathered],
        [agent.outer_state for agent, *_ in gathered],
        [batch for *_, batch in gathered],
        [agent.streams["noise"] for agent, *_ in gathered],
    )
    going_on = []
    for (agent, states, tasks, _), result in zip(gathered, results, strict=True):
        if isinstance(result, NonFiniteError):
            training.set_streams(agent, states)
            continue
        training.absorb(agent, tasks, *result)
        going_on.append(agent)
    return going_on


def _alike(agents: Sequence[Agent]) -> Agent:
    """Return the first agent, if all differ only in seed and what came of it."""
    if not agents:
        raise ConfigError("agents=[] is empty: give at least one")
    first = agents[0]
    if type(first).learn is not Agent.learn:
        raise ConfigError(f"{type(first).__name__} learns in its own way: call learn() of each")
    if first.outer.steps_per_call > 1:
        raise ConfigError(f"steps_per_call={first.outer.steps_per_call} has no effect side by side: call learn() of each")
    for name in ("policy_name", "env_name"):
        if any(getattr(agent, name) is None for agent in agents):
            what = name.removesuffix("_name")
            raise ConfigError(f"{what}: only agents that were given it by name can be seen to be alike; give its name")
    if len({id(agent) for agent in agents}) < len(agents):
        raise ConfigError("agents has one agent twice: give each once")
    for agent in agents[1:]:
        ours, theirs = vars(first.options), vars(agent.options)
        differ = [name for name in ours if theirs.get(name) != ours[name] and name != "seed"]
        same = ("policy_name", "env_name", "outer", "iteration", "device")
        differ += [name.removesuffix("_name") for name in same if getattr(agent, name) != getattr(first, name)]
        if agent.source.rollouts != first.source.rollouts:
            differ.append("rollouts")
        if type(agent) is not type(first):
            differ.append("class")
        if differ:
            raise ConfigError(f"agents differ in {', '.join(differ)}: only the seed may differ")
    return first
