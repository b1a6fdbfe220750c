"""python benchmarks/two_processes.py [rounds]: what a second process is worth, on two cores.

One outer step by one process of one thread against the same step shared by two of them under torchrun, in turn: image tasks
like Omniglot's (Conv4-64 with strides, 32 tasks of 5-way 1-shot, 15 queries a class) and half-cheetahs by direction (10 tasks
x 20 trajectories x 200 steps, before and after an inner step; TRPO). Beside it what each process sends in an outer step: the
bytes of all that it hands to ``all_reduce`` and ``all_gather``.
"""

import os
import subprocess
import sys
from statistics import median
from time import perf_counter
from typing import Any

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 3
STEPS = {"images": 4, "cheetah": 2}
"""Outer steps that are timed in a round, after one that is not."""


def images() -> Any:
    """Return one outer step on random images."""
    import torch
    from torch.nn.functional import cross_entropy

    from metarl import processes
    from metarl.adapters import GradientAdapter
    from metarl.learner import Learner
    from metarl.outer import GradientDescent
    from metarl.outer.meta_gradient import Batch
    from metarl.problems import SupervisedProblem
    from metarl.rules import GradientDescent as Descent
    from metarl.supervised.networks import conv4
    from metarl.tasks import Examples

    torch.manual_seed(0)
    network = conv4((1, 28, 28), 5, downsampling="stride")
    learner = Learner(network)
    rule = Descent(learner.layout, rate=0.4)
    adapter = GradientAdapter(SupervisedProblem(cross_entropy), learner, rule, steps=1)
    meta, loop = adapter.initial_meta(network, rule), GradientDescent()
    rows = processes.rows_of_this(32)
    labels = torch.arange(5).expand(32, -1)
    support = Examples(torch.rand(32, 5, 1, 28, 28)[rows], labels[rows])
    query = Examples(torch.rand(32, 75, 1, 28, 28)[rows], labels.repeat_interleave(15, 1)[rows])
    state = loop.init(adapter, meta, torch.Generator())
    batch = Batch([support], query, len(query.targets))
    return lambda: loop.improve(adapter, meta, state, batch, torch.Generator())


def cheetah() -> Any:
    """Return one meta-iteration on half-cheetahs."""
    from metarl.agents.training import outer_step
    from metarl.commands.presets import PRESETS
    from metarl.commands.run import Run

    settings = {**PRESETS["cheetah-direction-small"][1], "meta_batch": 10, "env_kwargs": {"threads": 1}}
    agent = Run.of(settings).make()
    return lambda: outer_step(agent, report=False)


def work(world: str) -> None:
    """Time outer steps, in one process or as one of two, and print the seconds of each and the bytes sent in it."""
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    if "RANK" in os.environ:
        distributed.init_process_group("gloo")
    step, sent = {"images": images, "cheetah": cheetah}[world](), [0]
    reduce, gather = distributed.all_reduce, distributed.all_gather

    def counted_reduce(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        sent[0] += tensor.nbytes
        return reduce(tensor, *args, **kwargs)

    def counted_gather(parts: Any, tensor: Any, *args: Any, **kwargs: Any) -> Any:
        sent[0] += tensor.nbytes
        return gather(parts, tensor, *args, **kwargs)

    distributed.all_reduce, distributed.all_gather = counted_reduce, counted_gather  # type: ignore[assignment]
    step()
    sent[0], started = 0, perf_counter()
    for _ in range(STEPS[world]):
        step()
    if os.environ.get("RANK", "0") == "0":
        print((perf_counter() - started) / STEPS[world], sent[0] / STEPS[world])


if sys.argv[1:2] == ["work"]:
    work(sys.argv[2])
    sys.exit()
torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
env = {**os.environ, "OMP_NUM_THREADS": "1"}
for world in STEPS:
    ratios, megabytes = [], 0.0
    for _ in range(ROUNDS):
        seconds = []
        for start in ([], torchrun):
            done = subprocess.run(
                [sys.executable, *start, __file__, "work", world], env=env, capture_output=True, text=True, check=True
            )
            one, sent = map(float, done.stdout.split())
            seconds.append(one)
            megabytes = sent / 2**20
        ratios.append(seconds[0] / seconds[1])
    print(
        f"{world:>8}: two processes are {median(ratios):.2f} times as fast as one ({min(ratios):.2f} to {max(ratios):.2f} in "
        f"{ROUNDS} rounds; {seconds[0]:.2f} s and {seconds[1]:.2f} s in the last); each sends {megabytes:.2f} MiB a step"
    )
