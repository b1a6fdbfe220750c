"""python benchmarks/convolutions.py [rounds] [--compiled]: ways to compute Conv4's convolutions, beside a matrix product.

First a 3 x 3 convolution of 64 by 64 channels alone, on 75 images of a task's query set, forward and both derivatives: as it is
(PyTorch hands it to oneDNN), with channels last, by im2col (patches as columns, then a matrix product), and in bfloat16; of one
task, and of eight tasks with filters of their own, which is one grouped convolution. Then a second-order meta-gradient of 8
tasks with max-pooling as in ``image_meta_gradient.py``, 8 together; ``--compiled`` by ``torch.compile`` too, which takes
minutes. Shares are of the speed of a product of two matrices of side 2,048 in float32, in the same round.
"""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from time import perf_counter
from typing import Any

import torch
from operations import Operations
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, unfold

from metarl.adapters import GradientAdapter
from metarl.learner import Learner
from metarl.outer.meta_gradient import meta_gradient
from metarl.problems import SupervisedProblem
from metarl.rules import GradientDescent
from metarl.supervised.networks import conv4
from metarl.tasks import Examples

CHANNELS, IMAGES, TASKS, WAYS, QUERIES, SIDE = 64, 75, 8, 5, 15, 28
PRODUCT = 2048


def seconds_of(function: Callable[[], Any]) -> float:
    """Return the seconds of a call, after one that is not counted."""
    function()
    started = perf_counter()
    function()
    return perf_counter() - started


def by_columns(images: Tensor, filters: Tensor, tasks: int = 1, bias: Tensor | None = None) -> Tensor:
    """Return a convolution of stride and padding 1 as a product of every task's filters with columns of patches."""
    number, _, height, width = images.shape
    columns = unfold(images, 3, padding=1).unflatten(1, (tasks, -1))  # (images, tasks, channels x 9, places)
    outputs = filters.view(tasks, -1, columns.shape[2]) @ columns
    outputs = outputs.view(number, -1, height, width)
    return outputs if bias is None else outputs + bias[:, None, None]


class ByColumns(nn.Conv2d):
    """A convolution by im2col."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution."""
        return by_columns(input, self.weight, bias=self.bias)


def alone(side: int, tasks: int) -> dict[str, float]:
    """Return GFLOP/s of forward and both derivatives, by the way."""
    images = torch.randn(IMAGES, tasks * CHANNELS, side, side)
    filters = torch.randn(tasks * CHANNELS, CHANNELS, 3, 3)
    operations = 3 * 2 * 9 * CHANNELS * filters.shape[0] * IMAGES * side**2

    def both_ways(convolve: Callable[[Tensor, Tensor], Tensor], *given: Tensor) -> Callable[[], Any]:
        leaves = [value.clone(memory_format=torch.preserve_format).requires_grad_() for value in given]
        weights = torch.ones_like(convolve(*leaves))
        return lambda: torch.autograd.grad(convolve(*leaves), leaves, weights)

    direct = lambda images, filters: conv2d(images, filters, padding=1, groups=tasks)  # noqa: E731 - two uses, one line
    last = [value.contiguous(memory_format=torch.channels_last) for value in (images, filters)]
    ways = {
        "direct": both_ways(direct, images, filters),
        "channels last": both_ways(direct, *last),
        "im2col": both_ways(lambda images, filters: by_columns(images, filters, tasks), images, filters),
        "bfloat16": both_ways(direct, images.bfloat16(), filters.bfloat16()),
    }
    return {way: operations / seconds_of(function) / 1e9 for way, function in ways.items()}


def together() -> dict[str, float]:
    """Return GFLOP/s of a meta-gradient's products and convolutions, by the way."""
    labels = torch.arange(WAYS).expand(TASKS, -1)
    support = Examples(torch.rand(TASKS, WAYS, 1, SIDE, SIDE), labels)
    query = Examples(torch.rand(TASKS, WAYS * QUERIES, 1, SIDE, SIDE), labels.repeat_interleave(QUERIES, 1))
    found = {}
    for way in ("direct", "im2col", "bfloat16", *(["compiled"] if "--compiled" in sys.argv else [])):
        network = conv4((1, SIDE, SIDE), WAYS)
        for module in network.modules():
            if way == "im2col" and isinstance(module, nn.Conv2d):
                module.__class__ = ByColumns
        learner = Learner(network)
        rule = GradientDescent(learner.layout, rate=0.4)
        adapter = GradientAdapter(SupervisedProblem(cross_entropy), learner, rule, steps=1)
        meta = adapter.initial_meta(network, rule)
        take = torch.compile(meta_gradient, dynamic=False) if way == "compiled" else meta_gradient
        gradient = lambda: take(adapter, meta, [support], query, TASKS)  # noqa: B023, E731 - called in this turn
        if way == "direct":
            with Operations() as counted:  # task by task: of a grouped convolution it would count what is not there
                meta_gradient(adapter, meta, [support], query, TASKS, tasks_at_once=1)
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False) if way == "bfloat16" else nullcontext():
            found[way] = counted.products / seconds_of(gradient) / 1e9
    return found


def print_shares(name: str, rounds: list[dict[str, float]], limits: list[float]) -> None:
    """Print each way's share of the matrix product's speed, the median and range of the rounds."""
    cells = []
    for way in rounds[0]:
        shares = [found[way] / limit for found, limit in zip(rounds, limits, strict=True)]
        cells.append(f"{way} {median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})")
    print(f"{name:>34}: " + ", ".join(cells), flush=True)


if __name__ == "__main__":
    number = next((int(word) for word in sys.argv[1:] if word.isdigit()), 3)
    matrix = torch.randn(PRODUCT, PRODUCT)
    cases: dict[str, Callable[[], dict[str, float]]] = {}
    for side in (28, 14, 7):
        for tasks in (1, TASKS):
            cases[f"convolution, {side} pixels, {tasks} task{'s' * (tasks > 1)}"] = lambda side=side, tasks=tasks: alone(
                side, tasks
            )
    cases["meta-gradient"] = together
    for name, case in cases.items():
        limits, rounds = [], []
        for _ in range(number):
            limits.append(2 * PRODUCT**3 / seconds_of(lambda: matrix @ matrix) / 1e9)
            rounds.append(case())
        print_shares(name, rounds, limits)
