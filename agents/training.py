"""The training loop: outer steps, validations, the log, and callbacks, in this order."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure

from metarl import processes
from metarl.agents import videos
from metarl.errors import ConfigError, NonFiniteError, require_whole
from metarl.logger import metrics, seconds_by_part
from metarl.outer import Outcome
from metarl.outer.base import State
from metarl.outer.meta_gradient import Batch
from metarl.problems.base import Tasks

if TYPE_CHECKING:
    from metarl.agents.base import Agent


@dataclass(frozen=True)
class Plan:
    """How long is learned, and what is done on the way; see ``Agent.learn``.

    Raises:
        ConfigError: a count that is not positive.
    """

    iterations: int
    log_interval: int
    validate_every: int
    validation_tasks: int
    picture_every: int
    video_every: int = 0

    def __post_init__(self) -> None:
        require_whole(iterations=self.iterations, log_interval=self.log_interval, validation_tasks=self.validation_tasks)
        for name in ("validate_every", "picture_every", "video_every"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)} must not be negative")
            if getattr(self, name):
                require_whole(**{name: getattr(self, name)})


def learn(agent: Agent, plan: Plan, callback: Any, name: str, progress_bar: bool) -> None:
    """Take the outer steps of a plan; see ``Agent.learn``."""
    # a split with too few tasks is said before the work, not after some of it
    for split, wanted in (("validation", plan.validate_every), ("test", plan.picture_every or plan.video_every)):
        if wanted:
            agent.source.sample(1, split, torch.Generator(agent.device))
    together = agent.outer.steps_per_call
    if together > 1 and plan.log_interval <= together:
        raise ConfigError(
            f"log_interval={plan.log_interval} leaves no room for calls of steps_per_call={together} steps, as those up to "
            f"a logged one are taken singly: log less often, such as log_interval={100 * together}"
        )
    if plan.video_every:
        videos.require_renderer(agent, f"video_every={plan.video_every}")
    agent.start_logger(name)
    hooks = agent.hooks(callback, int(plan.iterations), progress_bar)
    total_timesteps = agent.num_timesteps + int(plan.iterations)  # SB3's progress bar reads it, and counts outer steps here
    hooks.on_training_start(locals(), globals())
    try:
        _learn(agent, plan, hooks)
    finally:
        hooks.on_training_end()


def _learn(agent: Agent, plan: Plan, hooks: BaseCallback) -> None:
    started, timesteps, since = perf_counter(), agent.num_timesteps, 0
    left = int(plan.iterations)
    while left:
        hooks.on_rollout_start()
        count = agent.outer.steps_per_call if _can_go_together(agent, plan, left) else 1
        report = (agent.iteration + 1) % plan.log_interval == 0
        before = agent.meta
        outcome = outer_step(agent, report, count)
        since += count
        left -= count
        if report:
            log = metrics(agent.adapter, before, outcome)
            log |= seconds_by_part(agent.adapter, since)
            _record(agent, log, outcome, max(perf_counter() - started, 1e-9), agent.num_timesteps - timesteps, since)
        validated = bool(plan.validate_every) and agent.iteration % plan.validate_every == 0
        if validated:
            agent.validate(plan.validation_tasks)
        pictured = bool(plan.picture_every) and agent.iteration % plan.picture_every == 0
        if pictured:
            for name, figure in agent.pictures().items():
                agent.logger.record(f"pictures/{name}", Figure(figure, close=True), exclude=("stdout", "log", "json", "csv"))
        filmed = bool(plan.video_every) and agent.iteration % plan.video_every == 0
        if filmed and videos.takes_videos(agent.logger):
            for name, video in agent.videos().items():
                videos.record(agent.logger, f"videos/{name}", video, agent.iteration)
        if report or validated or pictured:  # each is logged at the iteration that it is of
            agent.logger.dump(agent.iteration)
        if report:
            started, timesteps, since = perf_counter(), agent.num_timesteps, 0
        hooks.update_locals(locals())
        hooks.on_rollout_end()
        if not all(hooks.on_step() for _ in range(count)):
            break


def _can_go_together(agent: Agent, plan: Plan, left: int) -> bool:
    """Return whether a call's worth of steps comes next: all from one multiple to the next, with nothing to do between them.

    What goes together follows from the count of steps and the plan, so that a run that is resumed by the same plan does as an
    uninterrupted one.
    """
    together = agent.outer.steps_per_call
    before, after = agent.iteration, agent.iteration + together
    if together == 1 or before % together or left < together or after // plan.log_interval > before // plan.log_interval:
        return False
    others = filter(None, (plan.validate_every, plan.picture_every, plan.video_every))
    return all((after - 1) // every == before // every for every in others)


def outer_step(agent: Agent, report: bool, count: int = 1) -> Outcome:
    """Take one outer step, or a call's worth of them, which no log reports.

    Raises:
        NonFiniteError: the step, or all of the call, was refused; the agent is as before it.
    """
    before = stream_states(agent)
    try:
        with agent.adapter.clock("outer step"):
            tasks, batch = gather(agent, report, count)
            improve = agent.outer.improve if count == 1 else agent.outer.improve_often
            outcome, state = improve(agent.adapter, agent.meta, agent.outer_state, batch, agent.streams["noise"])
    except BaseException as error:  # stopped from the keyboard too: the agent is as after its last step
        set_streams(agent, before)
        if isinstance(error, NonFiniteError):
            which = f"iteration {agent.iteration + 1}" if count == 1 else f"one of {count} iterations after {agent.iteration}"
            raise NonFiniteError(f"{which}: {error}") from error
        raise
    absorb(agent, tasks, outcome, state, count)
    return outcome


def gather(agent: Agent, report: bool, count: int = 1) -> tuple[Tasks, Batch]:
    """Return everybody's tasks of an agent's next outer steps, and this process's experience of its share of them."""
    first = agent.iteration * agent.meta_batch
    everybodys, tasks = agent.outer.draw(agent.source, count * agent.meta_batch, agent.streams["tasks"], first)
    return everybodys, agent.outer.gather(agent.adapter, agent.meta, tasks, agent.streams["noise"], report)


def absorb(agent: Agent, tasks: Tasks, outcome: Outcome, state: State, count: int = 1) -> None:
    """Let an agent be what outer steps on these tasks made of it."""
    agent.meta, agent.outer_state = outcome.meta, state
    agent.iteration += count
    agent.num_timesteps += count * _timesteps(agent, outcome)
    if agent.adapter.learner.keeps_averages:
        inputs = agent.source.inputs(tasks, outcome)
        if inputs is not None:
            agent.meta = agent.adapter.track(agent.meta, inputs)


def stream_states(agent: Agent) -> dict[str, torch.Tensor]:
    """Return where an agent's random streams are."""
    return {name: generator.get_state() for name, generator in agent.streams.items()}


def set_streams(agent: Agent, states: dict[str, torch.Tensor]) -> None:
    """Put an agent's random streams back to where they were."""
    for name, generator in agent.streams.items():
        generator.set_state(states[name])


def _timesteps(agent: Agent, outcome: Outcome) -> int:
    """Return how many environment steps, tasks or images an outer step took, over all processes."""
    if outcome.timesteps is not None:
        return outcome.timesteps
    adaptation, problem = outcome.adaptation, agent.adapter.problem
    if adaptation is None or not problem.on_policy:
        return agent.meta_batch
    share = problem.timesteps([*adaptation.experiences, outcome.query], agent.meta_batch // processes.count())
    return round(float(processes.mean(share)) * processes.count())


def _record(agent: Agent, log: dict[str, float], outcome: Outcome, seconds: float, timesteps: int, iterations: int) -> None:
    """Put one outer step's metrics into the log, and what a progress bar says of them into the agent."""
    problem = agent.adapter.problem
    log[f"time/{problem.unit}_per_second"] = timesteps / seconds
    log["time/iterations_per_second"] = iterations / seconds
    log[f"time/total_{problem.unit}"] = agent.num_timesteps
    log["time/iterations"] = agent.iteration
    for name, value in log.items():
        agent.logger.record(name, value)
    name = problem.metric
    values = [log[key] for key in log if key.startswith(f"{name}/")]
    ends = dict.fromkeys((values[0], values[-1])) if values else {}
    agent.say(f"{name} {' -> '.join(f'{end:.2f}' for end in ends)}" if ends else f"loss {float(outcome.loss):.2f}")
