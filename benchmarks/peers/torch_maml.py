"""MAML by the libraries on PyTorch, task after task, as in their own examples."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

Task = tuple[Tensor, Tensor, Tensor, Tensor]
"""Support inputs and targets, query inputs and targets."""
MetaGradient = Callable[[list[Task]], Tensor]
"""Puts the meta-gradient of a meta-batch into the parameters' ``grad``, and returns the mean query loss."""


def meta_gradient(library: str, network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], rate: float) -> MetaGradient:
    """Return what takes the second-order meta-gradient after one inner step."""
    of_task = {"learn2learn": _learn2learn, "higher": _higher, "torchopt": _torchopt}[library](network, loss, rate)

    def gradient(tasks: list[Task]) -> Tensor:
        network.zero_grad()
        return torch.stack([of_task(task, 1 / len(tasks)) for task in tasks]).sum()

    return gradient


def _learn2learn(network, loss, rate):
    from learn2learn.algorithms import MAML

    maml = MAML(network, lr=rate)

    def of_task(task: Task, share: float) -> Tensor:
        support_inputs, support_targets, query_inputs, query_targets = task
        learner = maml.clone()
        learner.adapt(loss(learner(support_inputs), support_targets))
        error = share * loss(learner(query_inputs), query_targets)
        error.backward()
        return error.detach()

    return of_task


def _higher(network, loss, rate):
    import higher

    inner = torch.optim.SGD(network.parameters(), rate)

    def of_task(task: Task, share: float) -> Tensor:
        support_inputs, support_targets, query_inputs, query_targets = task
        with higher.innerloop_ctx(network, inner, copy_initial_weights=False) as (learner, optimiser):
            optimiser.step(loss(learner(support_inputs), support_targets))
            error = share * loss(learner(query_inputs), query_targets)
            error.backward()
        return error.detach()

    return of_task


def _torchopt(network, loss, rate):
    import torchopt

    inner = torchopt.MetaSGD(network, lr=rate)
    states = [torchopt.extract_state_dict(part, by="reference") for part in (network, inner)]
    leaves = list(network.parameters())  # the network's own are replaced by the step

    def of_task(task: Task, share: float) -> Tensor:
        support_inputs, support_targets, query_inputs, query_targets = task
        inner.step(loss(network(support_inputs), support_targets))
        error = share * loss(network(query_inputs), query_targets)
        error.backward()
        for part, state in zip((network, inner), states, strict=True):
            torchopt.recover_state_dict(part, state)
        assert next(network.parameters()) is leaves[0]
        return error.detach()

    return of_task


def fill(parameters: Iterable[nn.Parameter], arrays: Iterable[Tensor]) -> None:
    """Put values into parameters."""
    with torch.no_grad():
        for parameter, array in zip(parameters, arrays, strict=True):
            parameter.copy_(array)


def gradient_norm(network: nn.Module) -> float:
    """Return the norm of what ``backward`` has left."""
    return float(
        torch.stack([value.grad.square().sum() for value in network.parameters() if value.grad is not None]).sum().sqrt()
    )
