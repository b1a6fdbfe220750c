"""The meta-gradient: the query loss after an adaptation, differentiated by every meta-parameter."""

from __future__ import annotations  # else torch.compile stumbles over those of nested functions

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from metarl.adapters.base import Adaptation, Adapted, Adapter, Meta, learned, unneeded
from metarl.outer.recomputation import chain_gradient
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
    recompute_steps: bool = False,
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
        recompute_steps: keep the graph of one piece of the adapter's ``replay_chain`` at a time, and run it again for that.
    """
    values = {name: value.detach() for name, value in learned(meta).items()}  # or autograd would record the differentiation
    if tasks_at_once is not None and tasks_at_once < count:
        loss, total = values["theta"].new_zeros(()), {name: torch.zeros_like(value) for name, value in values.items()}
        for start in range(0, count, tasks_at_once):
            rows = slice(start, start + tasks_at_once)
            part_support, part_query = tree_map(lambda tensor: tensor[rows], (experiences, query))  # noqa: B023 - called at once
            size = min(tasks_at_once, count - start)
            part_loss, gradients = meta_gradient(
                adapter, meta, part_support, part_query, size, clip_task, recompute_steps=recompute_steps
            )
            loss = loss + size / count * part_loss
            total = {name: total[name] + size / count * value for name, value in gradients.items()}
        return loss, {name: value.detach() for name, value in total.items()}

    def gradient(values: Meta, experiences: list[Any], query: Any, tasks: int = count) -> tuple[Meta, Tensor]:
        def loss(meta: Meta, adapted: Adapted) -> Tensor:
            return adapter.losses(meta, adapted, query).mean()

        def replay_and_loss(meta: Meta, _: tuple[()]) -> Tensor:
            return loss(meta, adapter.replay(meta, experiences, tasks))

        links = [*adapter.replay_chain(experiences, tasks), loss] if recompute_steps else [replay_and_loss]
        return chain_gradient(links, values, meta)

    if clip_task is None:
        gradients, loss = gradient(values, experiences, query)
        return loss.detach(), gradients

    def task_gradient(values: Meta, *task: Any) -> tuple[Meta, Tensor]:
        experiences, query = tree_map(lambda tensor: tensor.unsqueeze(0), task)
        return gradient(values, experiences, query, 1)

    gradients, losses = torch.vmap(task_gradient, in_dims=(None, 0, 0))(values, experiences, query)
    by_task = gradients["theta"]
    # an infinite entry must be seen
    gradients["theta"] = torch.where(by_task.isfinite(), by_task.clamp(-clip_task, clip_task), by_task)
    return losses.detach().mean(), {name: value.mean(0) for name, value in gradients.items()}
