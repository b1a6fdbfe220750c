"""python benchmarks/convolutions.py [rounds] [--compiled]: ways to compute Conv4's convolutions, beside a matrix product.

First a 3 x 3 convolution of 64 by 64 channels alone, on 75 images of a task's query set, forward and both derivatives: as it is
(PyTorch hands it to oneDNN), with channels last, by im2col (patches as columns, then a matrix product), and in bfloat16; of one
task, and of eight tasks with filters of their own, which is one grouped convolution. Then a second-order meta-gradient of 8
tasks with max-pooling as in ``image_meta_gradient.py``, 8 together; ``--compiled`` by ``torch.compile`` too, which takes
minutes. Shares are of the speed of a product of two matrices of side 2,048 in float32, in the same round.
"""

import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch
from operations import Operations
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, unfold
from torch.profiler import ProfilerActivity, profile

from metarl.adapters import GradientAdapter
from metarl.learner import Learner
from metarl.outer.meta_gradient import meta_gradient
from metarl.problems import SupervisedProblem
from metarl.rules import GradientDescent
from metarl.supervised.networks import conv4
from metarl.tasks import Examples

CHANNELS, IMAGES, TASKS, WAYS, QUERIES, SIDE = 64, 75, 8, 5, 15, 28
PRODUCT = 2048


Ways = dict[str, tuple[int, Callable[[], Any]]]
"""Of each way its operations, and what does them."""


def seconds_of(function: Callable[[], Any], at_least: float = 0.5) -> float:
    """Return the mean seconds of calls that go on for a while, after one that is not counted."""
    function()
    started, times = perf_counter(), 0
    while times == 0 or perf_counter() - started < at_least:
        function()
        times += 1
    return (perf_counter() - started) / times


def by_columns(images: Tensor, filters: Tensor, tasks: int = 1, bias: Tensor | None = None) -> Tensor:
    """Return a convolution of stride and padding 1 as a product of every task's filters with columns of patches."""
    number, _, height, width = images.shape
    columns = unfold(images, 3, padding=1).unflatten(1, (tasks, -1))  # (images, tasks, channels x 9, places)
    outputs = filters.view(tasks, -1, columns.shape[2]) @ columns
    outputs = outputs.view(number, -1, height, width)
    return outputs if bias is None else outputs + bias[:, None, None]


class ByColumns(nn.Conv2d):
    """A convolution of stride and padding 1 by im2col."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution."""
        return by_columns(input, self.weight, bias=self.bias)


def alone(side: int, tasks: int) -> Ways:
    """Return a convolution's forward and both derivatives, by the way."""
    images = torch.randn(IMAGES, tasks * CHANNELS, side, side)
    filters = torch.randn(tasks * CHANNELS, CHANNELS, 3, 3)
    operations = 3 * 2 * 9 * CHANNELS * filters.shape[0] * IMAGES * side**2

    def direct(images: Tensor, filters: Tensor) -> Tensor:
        return conv2d(images, filters, padding=1, groups=tasks)

    def both_ways(convolve: Callable[[Tensor, Tensor], Tensor], *given: Tensor) -> Callable[[], Any]:
        leaves = [value.clone(memory_format=torch.preserve_format).requires_grad_() for value in given]
        weights = torch.ones_like(convolve(*leaves))
        return lambda: torch.autograd.grad(convolve(*leaves), leaves, weights)

    ways = {
        "direct": both_ways(direct, images, filters),
        "channels last": both_ways(
            direct, *(value.contiguous(memory_format=torch.channels_last) for value in (images, filters))
        ),
        "im2col": both_ways(lambda images, filters: by_columns(images, filters, tasks), images, filters),
        "bfloat16": both_ways(direct, images.bfloat16(), filters.bfloat16()),
    }
    return {way: (operations, function) for way, function in ways.items()}


def together() -> Ways:
    """Return a meta-gradient of tasks together, by the way; of its operations the products and convolutions."""
    labels = torch.arange(WAYS).expand(TASKS, -1)
    support = Examples(torch.rand(TASKS, WAYS, 1, SIDE, SIDE), labels)
    query = Examples(torch.rand(TASKS, WAYS * QUERIES, 1, SIDE, SIDE), labels.repeat_interleave(QUERIES, 1))

    def gradient(by_columns: bool = False, function: Callable[..., Any] = meta_gradient, **options: Any) -> Callable[[], Any]:
        network = conv4((1, SIDE, SIDE), WAYS)
        for module in network.modules():
            if by_columns and isinstance(module, nn.Conv2d):
                assert module.stride == module.padding == (1, 1)
                module.__class__ = ByColumns
        learner = Learner(network)
        rule = GradientDescent(learner.layout, rate=0.4)
        adapter = GradientAdapter(SupervisedProblem(cross_entropy), learner, rule, steps=1)
        meta = adapter.initial_meta(network, rule)
        return lambda: function(adapter, meta, [support], query, TASKS, **options)

    def short() -> None:
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            direct()

    direct = gradient()
    ways = {"direct": direct, "im2col": gradient(by_columns=True), "bfloat16": short}
    if "--compiled" in sys.argv:
        ways["compiled"] = gradient(function=torch.compile(meta_gradient, dynamic=False))
    with Operations() as counted:  # task by task: of a grouped convolution it would count what is not there
        gradient(tasks_at_once=1)()
    return {way: (counted.products, function) for way, function in ways.items()}


def print_parts(function: Callable[[], Any]) -> None:
    """Print which operations a meta-gradient's time goes to, by PyTorch's profiler."""
    function()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        function()
    parts = {"convolution": 0.0, "max_pool": 0.0, "batch_norm": 0.0, "others": 0.0}
    for event in profiled.key_averages():
        name = next((name for name in parts if name in event.key), "others")
        parts[name] += event.self_cpu_time_total
    whole = sum(parts.values())
    print("of the meta-gradient's time: " + ", ".join(f"{name} {part / whole:.0%}" for name, part in parts.items()))


if __name__ == "__main__":
    number = next((int(word) for word in sys.argv[1:] if word.isdigit()), 3)
    matrix = torch.randn(PRODUCT, PRODUCT)
    cases = {
        f"convolution, {side} pixels, {tasks} task{'s' * (tasks > 1)}": alone(side, tasks)
        for side in (28, 14, 7)
        for tasks in (1, TASKS)
    } | {"meta-gradient": together()}
    for name, ways in cases.items():
        cells = []
        for way, (operations, function) in ways.items():
            shares = []
            for _ in range(number):
                limit = 2 * PRODUCT**3 / seconds_of(lambda: matrix @ matrix)
                shares.append(operations / seconds_of(function) / limit)
            cells.append(f"{way} {median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})")
        print(f"{name:>34}: " + ", ".join(cells), flush=True)
    print_parts(cases["meta-gradient"]["direct"][1])
