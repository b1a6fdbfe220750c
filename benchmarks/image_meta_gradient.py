"""python benchmarks/image_meta_gradient.py [rounds]: a meta-gradient of image tasks, by how many tasks go together.

Omniglot-shaped Conv4-64, 32 tasks of 5-way 1-shot with 15 queries a class, one inner step, second order; with max-pooling and
with strides. Each beside its limit: what its products and convolutions would take at the speed of a large matrix product on
the same cores, measured in the same round. Once with glibc's allocator as the command line sets it, which keeps memory, and
once as it is otherwise; each in a process of its own, in turn.
"""

import os
import subprocess
import sys
from statistics import median
from time import perf_counter

TASKS, WAYS, QUERIES, SIDE = 32, 5, 15, 28
SIZES = (1, 8, 0, 32)
"""Tasks that go together; 0 for what the outer loop chooses."""
PRODUCT = 2048
"""The side of the matrices of the limit."""


def measure() -> None:
    """Print the seconds of the limit and of each size, for pooling and strides."""
    import torch
    from operations import Operations
    from torch.nn.functional import cross_entropy

    from metarl.adapters import GradientAdapter
    from metarl.learner import Learner
    from metarl.outer.at_once import fitting_tasks
    from metarl.outer.meta_gradient import meta_gradient
    from metarl.problems import SupervisedProblem
    from metarl.rules import GradientDescent
    from metarl.supervised.networks import conv4
    from metarl.tasks import Examples

    torch.manual_seed(0)
    labels = torch.arange(WAYS).expand(TASKS, -1)
    support = Examples(torch.rand(TASKS, WAYS, 1, SIDE, SIDE), labels)
    query = Examples(torch.rand(TASKS, WAYS * QUERIES, 1, SIDE, SIDE), labels.repeat_interleave(QUERIES, 1))
    matrix = torch.rand(PRODUCT, PRODUCT)
    for downsampling in ("pool", "stride"):
        network = conv4((1, SIDE, SIDE), WAYS, downsampling=downsampling)
        learner = Learner(network)
        rule = GradientDescent(learner.layout, rate=0.4)
        adapter = GradientAdapter(SupervisedProblem(cross_entropy), learner, rule, steps=1)
        meta = adapter.initial_meta(network, rule)
        with Operations() as counted:
            meta_gradient(adapter, meta, [support], query, TASKS, tasks_at_once=1)
        for size in SIZES:
            together = size or fitting_tasks(adapter, meta, [support], query, TASKS)
            meta_gradient(adapter, meta, [support], query, TASKS, tasks_at_once=together)  # the first has new memory
            started = perf_counter()
            matrix @ matrix
            middle = perf_counter()
            meta_gradient(adapter, meta, [support], query, TASKS, tasks_at_once=together)
            limit = counted.products / (2 * PRODUCT**3) * (middle - started)
            print(downsampling, size, together, perf_counter() - middle, limit)


if sys.argv[1:] == ["measure"]:
    measure()
    sys.exit()
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
found: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
for _ in range(rounds):
    for allocator in ("keeps memory", "gives it back"):
        env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        if allocator == "keeps memory":
            env |= {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
        done = subprocess.run([sys.executable, __file__, "measure"], env=env, capture_output=True, text=True, check=True)
        for line in done.stdout.splitlines():
            downsampling, size, together, seconds, limit = line.split()
            name = f"{together} (chosen)" if size == "0" else together
            found.setdefault((downsampling, name, allocator), []).append((float(seconds), float(seconds) / float(limit)))
print(f"{'':>7} {'together':>12} {'allocator':>14} {'seconds':>8} {'of the limit':>13}   (median of {rounds})")
for (downsampling, name, allocator), pairs in found.items():
    seconds, ratios = zip(*pairs, strict=True)
    spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
    print(f"{downsampling:>7} {name:>12} {allocator:>14} {median(seconds):8.2f} {median(ratios):8.1f} ({spread})")
