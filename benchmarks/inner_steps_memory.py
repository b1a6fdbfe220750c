"""python benchmarks/inner_steps_memory.py [case]: a meta-gradient's memory and time by its inner steps, kept and recomputed.

Conv4 and second-order gradient descent: one 5-way 1-shot task of 28x28 images and 32 filters, by the number of steps; and,
recomputed alone, a meta-batch of four 20-way 5-shot tasks of 84x84 images in colour, 64 filters, five steps, one task after
the other. 15 queries a class. The most memory that the process had, PyTorch itself and all, and the seconds on the clock and of
the cores; each case in a process of its own, as a process's peak does not fall again. Cases: small, large; both unless named.
"""

import resource
import subprocess
import sys
from time import perf_counter, process_time

SMALL = {"tasks": 1, "ways": 5, "shots": 1, "shape": (1, 28, 28), "filters": 32}
LARGE = {"tasks": 4, "ways": 20, "shots": 5, "shape": (3, 84, 84), "filters": 64}
QUERIES = 15
CASES = {
    "small": [(steps, recompute) for steps in (0, 1, 5, 20, 100) for recompute in (False, True)],
    "large": [(5, True)],
}


def measure(case: str, steps: int, recompute: bool) -> None:
    """Differentiate a meta-batch once by theta, and print a row of the table."""
    import torch
    from torch.nn.functional import cross_entropy

    from metarl.adapters import GradientAdapter
    from metarl.learner import Learner
    from metarl.outer.meta_gradient import meta_gradient
    from metarl.problems import SupervisedProblem
    from metarl.rules import GradientDescent
    from metarl.supervised.networks import conv4
    from metarl.tasks import Examples

    def examples(each: int) -> Examples:
        labels = torch.arange(ways).repeat_interleave(each).expand(tasks, -1)
        return Examples(torch.rand(*labels.shape, *shape), labels)

    tasks, ways, shots, shape, filters = (SMALL if case == "small" else LARGE).values()
    torch.manual_seed(0)
    network = conv4(shape, ways, filters)
    learner = Learner(network)
    rule = GradientDescent(learner.layout, rate=0.01)
    adapter = GradientAdapter(SupervisedProblem(cross_entropy), learner, rule, steps)
    meta, support, query = adapter.initial_meta(network, rule), examples(shots), examples(QUERIES)
    started, worked = perf_counter(), process_time()
    meta_gradient(adapter, meta, [support] * steps, query, tasks, tasks_at_once=1, recompute_steps=recompute)
    seconds, work = perf_counter() - started, process_time() - worked
    gibibytes, graph = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "recomputed" if recompute else "kept"
    print(f"{case:>6} {steps:>6} {graph:>11} {gibibytes:>7.2f} {seconds:>9.1f} {work:>9.1f}", flush=True)


if len(sys.argv) > 2:
    measure(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True")
    sys.exit()
print(f"{'case':>6} {'steps':>6} {'graph':>11} {'GiB':>7} {'seconds':>9} {'of cores':>9}", flush=True)
for case in sys.argv[1:] or CASES:
    for steps, recompute in CASES[case]:
        subprocess.run([sys.executable, __file__, case, str(steps), str(recompute)], check=True)
