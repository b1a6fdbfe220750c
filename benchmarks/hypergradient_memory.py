"""python benchmarks/hypergradient_memory.py: the memory that a gradient through a whole training run takes, by its length.

A network of 10,000 weights, momentum 0.9: the most bytes that there were at once, over those of a run of one step, and of them
those that hold the bits which momentum loses. Beside it the same run kept by autograd.
"""

import resource
import sys
from time import perf_counter

import torch
from torch import Tensor

from metarl.outer import reversible_training
from metarl.outer.exact_arithmetic import InformationBuffer

SIZE, MOMENTUM = 10_000, 0.9


def loss(theta: Tensor, step: int) -> Tensor:
    """Return a loss that is not quadratic."""
    return (theta - step % 7).cos().sum()


def remembered(theta: Tensor, rates: Tensor, momentum: Tensor) -> Tensor:
    """Return where the run ends, every step of it kept."""
    velocity = torch.zeros_like(theta)
    for step, (rate, kept) in enumerate(zip(rates, momentum, strict=True)):
        (slope,) = torch.autograd.grad(loss(theta, step), theta, create_graph=True)
        velocity = kept * velocity - (1 - kept) * slope
        theta = theta + rate * velocity
    return theta


def megabytes() -> float:
    """Return the most memory that this process had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(kind: str, steps: int) -> None:
    """Differentiate a run of so many steps by its start and schedules, and print what it took."""
    theta = torch.linspace(-1, 1, SIZE, requires_grad=True)
    buffers: list[InformationBuffer] = []
    reversible_training.InformationBuffer = lambda like: buffers.append(InformationBuffer(like)) or buffers[-1]  # type: ignore
    for length in (1, steps):
        rates, momentum = torch.full((length,), 0.1, requires_grad=True), torch.full((length,), MOMENTUM, requires_grad=True)
        before, started = megabytes(), perf_counter()
        if kind == "reversed":
            reversible_training.train_reversibly(loss, theta, rates, momentum).square().sum().backward()
        else:
            remembered(theta, rates, momentum).square().sum().backward()
    held = f", {buffers[-1].nbytes / 2**20:.2f} MB of it bits" if buffers else ""
    print(f"{steps:>6} steps, {kind:>10}: {megabytes() - before:8.2f} MB{held}, {perf_counter() - started:.1f} s", flush=True)


if len(sys.argv) > 1:
    measure(sys.argv[1], int(sys.argv[2]))
else:  # each in a process of its own: a process's peak does not fall again
    import subprocess

    for kind, lengths in (("reversed", (100, 1000, 10_000)), ("remembered", (100, 1000))):
        for length in lengths:
            subprocess.run([sys.executable, __file__, kind, str(length)], check=True)
