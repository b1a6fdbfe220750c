"""What a learner costs: its size, and the time to adapt to a task and to predict."""

from collections.abc import Callable
from contextlib import closing
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from metarl.agents import Agent
    from metarl.commands.table import Exam

Cost = Literal["outer steps", "parameters", "ms to adapt", "ms to predict"]
Spent = Literal["million steps", "minutes"]
"""What training took: environment steps in millions, and minutes of one core's time."""
REPEATS = 20


def costs(agent: "Agent", exam: "Exam") -> dict[Cost, float]:
    """Return an agent's costs: outer steps taken, meta-learned numbers, and milliseconds for one task of an exam.

    Times are medians of ``REPEATS`` calls: adapting to one support set, and predicting its whole query set after it.
    """
    import torch

    from metarl.adapters.base import learned

    with closing(agent.changed_env(exam.env_kwargs)) as env, torch.no_grad():
        source = agent.source.elsewhere(env, agent.follows_ways)
        adapter = agent.over(source.problem)
        generator = torch.Generator(agent.device).manual_seed(0)
        tasks = source.sample(1, "test", generator)
        adapted = adapter.adapt(agent.meta, tasks, generator, exam.steps).adapted[-1]
        query = source.problem.collect(adapter.together(agent.meta, adapted), tasks, "query", generator)
        to_adapt = _milliseconds(lambda: adapter.adapt(agent.meta, tasks, generator, exam.steps), agent.device)
        to_predict = _milliseconds(lambda: adapter.together(agent.meta, adapted)(query.inputs), agent.device)
    size = sum(value.numel() for value in learned(agent.meta).values())
    return {
        "outer steps": float(agent.iteration),
        "parameters": float(size),
        "ms to adapt": to_adapt,
        "ms to predict": to_predict,
    }


def _milliseconds(call: Callable[[], Any], device: Any) -> float:
    import torch

    times = []
    for _ in range(REPEATS):
        started = perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (perf_counter() - started))
    return median(times)
