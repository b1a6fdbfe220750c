"""The meta-gradient: the query loss after an adaptation, differentiated by every meta-parameter."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value
from torch.utils._pytree import tree_leaves, tree_map

from metarl.adapters.base import Adaptation, Adapter, Meta, learned, unneeded
from metarl.problems.base import Tasks


@dataclass
class Batch:
    """What an outer step differentiates on.

    Attributes:
        experiences: the support experience, as the adapter's ``replay`` takes it.
        query: the query experience.
        count: the number of tasks.
        adaptation: what the adaptation did; None where only a replay of it is needed.
    """

    experiences: list[Any]
    query: Any
    count: int
    adaptation: Adaptation | None = None


def of_one_shape(batches: Sequence[Batch]) -> bool:
    """Return whether several runs' experience can be one tensor; not where they drew other numbers of shots."""
    shapes = {tuple(leaf.shape for leaf in tree_leaves((batch.experiences, batch.query))) for batch in batches}
    return len(shapes) == 1


def gather(adapter: Adapter, meta: Meta, tasks: Tasks, generator: torch.Generator, report: bool = True) -> Batch:
    """Return the experience of an outer step; no adaptation is made where neither the experience nor a report needs one."""
    count = adapter.problem.count(tasks)
    if adapter.problem.on_policy or report:
        with torch.no_grad():
            adaptation = adapter.adapt(meta, tasks, generator)
        query = adapter.collect(meta, adaptation.adapted[-1], tasks, generator)
        return Batch(adaptation.experiences, query, count, adaptation)
    with adapter.clock("sampling"):
        query = adapter.problem.collect(unneeded, tasks, "query", generator)
        return Batch(adapter.experiences(tasks, generator), query, count)


def meta_gradient(
    adapter: Adapter,
    meta: Meta,
    experiences: list[Any],
    query: Any,
    count: int,
    clip_task: float | None = None,
    tasks_at_once: int | None = None,
) -> tuple[Tensor, Meta]:
    """Return the mean query loss after a replay of the adaptation, and its gradient by every learned meta-parameter.

    Args:
        adapter: replays the adaptation.
        meta: the meta-parameters.
        experiences: the support experience.
        query: the query experience.
        count: the number of tasks.
        clip_task: clip every entry of each task's own gradient by theta to plus or minus this, before the mean.
        tasks_at_once: how many tasks are differentiated together; all unless given.
    """
    values = {name: value.detach() for name, value in learned(meta).items()}  # or autograd would record the differentiation
    if tasks_at_once is not None and tasks_at_once < count:
        loss, total = values["theta"].new_zeros(()), {name: torch.zeros_like(value) for name, value in values.items()}
        for start in range(0, count, tasks_at_once):
            rows = slice(start, start + tasks_at_once)
            part_support, part_query = tree_map(lambda tensor: tensor[rows], (experiences, query))  # noqa: B023 - called at once
            size = min(tasks_at_once, count - start)
            part_loss, gradients = meta_gradient(adapter, meta, part_support, part_query, size, clip_task)
            loss = loss + size / count * part_loss
            total = {name: total[name] + size / count * value for name, value in gradients.items()}
        return loss, {name: value.detach() for name, value in total.items()}

    def outer_loss(values: Meta, experiences: list[Any], query: Any, tasks: int = count) -> Tensor:
        changed = {**meta, **values}
        return adapter.losses(changed, adapter.replay(changed, experiences, tasks), query).mean()

    if clip_task is None:
        gradients, loss = grad_and_value(outer_loss)(values, experiences, query)
        return loss.detach(), gradients

    def task_loss(values: Meta, *task: Any) -> Tensor:
        experiences, query = tree_map(lambda tensor: tensor.unsqueeze(0), task)
        return outer_loss(values, experiences, query, 1)

    gradients, losses = torch.vmap(grad_and_value(task_loss), in_dims=(None, 0, 0))(values, experiences, query)
    by_task = gradients["theta"]
    # an infinite entry must be seen
    gradients["theta"] = torch.where(by_task.isfinite(), by_task.clamp(-clip_task, clip_task), by_task)
    return losses.detach().mean(), {name: value.mean(0) for name, value in gradients.items()}
