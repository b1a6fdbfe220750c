"""python benchmarks/evaluation_cost.py [tasks] [rounds]: an evaluation beside the network's passes in it, and nothing else.

``evaluate`` of MAML with 600 tasks unless told otherwise, in whole batches, on navigation (100 steps of 20 trajectories before
and after an inner step) and on 20-way 1-shot episodes of random images shaped as Omniglot's (the preset's Conv4 with strides).
In turn with it:
its own passes alone, as many forward passes on tensors of the same shapes and as many inner steps on the same experience, as
the adapter makes them for a batch of tasks; and plain passes, an ``nn.Module`` and its gradient by autograd, task by task where
a batch of tasks has parameters of their own. Neither draws tasks, steps an environment, or works out an advantage or a
measure. The aim: an evaluation takes at most 1.2 times as long as its passes.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch
from random_images import random_images
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from metarl.agents import Agent
from metarl.commands.presets import PRESETS
from metarl.commands.run import Run

TASKS = int(sys.argv[1]) if len(sys.argv) > 1 else 600
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3


@dataclass(frozen=True)
class Passes:
    """What an evaluation makes of one batch of tasks.

    Attributes:
        agent: whose it is.
        network: of the agent's, a module of its own.
        experiences: the support experience of each inner step.
        adapted: what the tasks were before the first and after each step.
        inputs: of a forward pass, shape (tasks, examples, ...).
        forwards: passes before the first and after each step.
    """

    agent: Agent
    network: nn.Module
    experiences: list[Any]
    adapted: list[Any]
    inputs: Tensor
    forwards: int

    @property
    def tasks(self) -> int:
        """How many tasks the batch has."""
        return len(self.inputs)

    @torch.no_grad()
    def batched(self) -> None:
        """Make the passes as the adapter does."""
        adapter, meta = self.agent.adapter, self.agent.meta
        adapter.replay(meta, self.experiences, self.tasks)
        for adapted in self.adapted:
            apply = (adapter.policies if self.forwards > 1 else adapter.together)(meta, adapted)
            for _ in range(self.forwards):
                apply(self.inputs)

    def plain(self) -> None:
        """Make them with a module."""
        problem, parameters = self.agent.adapter.problem, list(self.network.parameters())
        for experience in self.experiences:
            for task in range(self.tasks):
                own = tree_map(lambda tensor: tensor[task], experience)  # noqa: B023 - called at once
                torch.autograd.grad(problem.loss(lambda inputs: (self.network(inputs), ()), own), parameters)
        with torch.no_grad():
            for _ in range(len(self.adapted) * self.forwards):
                if self.forwards > 1:  # small policies: all tasks in one product
                    self.network(self.inputs)
                    continue
                for inputs in self.inputs:
                    self.network(inputs)


def passes(run: Run, agent: Agent) -> Passes:
    """Return the passes of an agent's evaluation of one batch."""
    adapter, source, generator = agent.adapter, agent.source, torch.Generator().manual_seed(0)
    at_once = source.evaluation_batch(adapter, agent.meta, adapter.steps, agent.meta_batch)
    tasks = next(iter(source.batches(TASKS, "test", generator, 1, at_once)))
    with torch.no_grad():
        adaptation = adapter.adapt(agent.meta, tasks, generator)
        query = adapter.collect(agent.meta, adaptation.adapted[-1], tasks, generator)
    network = source.network(run.policy, run.policy_kwargs, embedding=False)
    if not adapter.problem.on_policy:
        return Passes(agent, network, adaptation.experiences, adaptation.adapted, query.inputs, 1)
    seen = query.by_trajectory(query.observations)
    return Passes(agent, network, adaptation.experiences, adaptation.adapted, seen[:, :, 0], seen.shape[2])


def navigation() -> Passes:
    """Return those of navigation."""
    run = Run.of(PRESETS["navigation"][1], agent="maml")
    return passes(run, run.make())


def images() -> Passes:
    """Return those of random images."""
    run = Run.of({**PRESETS["maml-omniglot"][1], "rate": 0.1})
    return passes(run, run.make(random_images(ways=20, shots=1, queries=1)))


def seconds(work: Callable[[], Any], times: int = 1) -> float:
    """Return the seconds that some calls take."""
    started = perf_counter()
    for _ in range(times):
        work()
    return perf_counter() - started


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; {TASKS} tasks, medians of {ROUNDS} rounds")
    for name, of_batch in {"navigation": navigation(), "images": images()}.items():
        batches = max(1, round(TASKS / of_batch.tasks))
        of_batch.agent.evaluate(of_batch.tasks), of_batch.batched(), of_batch.plain()
        rounds = [
            (
                seconds(lambda: of_batch.agent.evaluate(batches * of_batch.tasks)),  # noqa: B023 - called at once
                seconds(of_batch.batched, batches),
                seconds(of_batch.plain, batches),
            )
            for _ in range(ROUNDS)
        ]
        evaluation, *alone = zip(*rounds, strict=True)
        print(f"{name:>10}: {batches} batches of {of_batch.tasks} tasks, evaluate {median(evaluation):.2f} s")
        for kind, column in zip(("its own passes", "plain passes"), alone, strict=True):
            ratios = [whole / part for whole, part in zip(evaluation, column, strict=True)]
            spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
            print(
                f"{kind:>25} {median(column):.2f} s: evaluate takes {median(ratios):.2f} times as long ({spread})", flush=True
            )
