"""python benchmarks/busy_machine.py [rounds]: a meta-iteration on a machine that other programs use, by how threads wait.

Navigation at Meta-SGD's protocol (20 tasks x 20 trajectories x 100 steps, TRPO with Fisher products on a fifth) in a process of
its own: with as many threads as cores that spin while they wait (the default), that sleep (``OMP_WAIT_POLICY=passive``, which
the command line chooses where others compute), and with one thread. Alone on the machine, and beside three processes that are
busy all the time. In turn; medians of the iterations after one.
"""

import os
import subprocess
import sys
from statistics import median
from time import perf_counter

ITERATIONS = 3
OTHERS = 3
WAYS = {"threads spin": {}, "threads sleep": {"OMP_WAIT_POLICY": "passive"}, "one thread": {"OMP_NUM_THREADS": "1"}}


def work() -> None:
    """Print the median seconds of an iteration."""
    from metarl.agents.training import outer_step
    from metarl.commands.presets.navigation import NAVIGATION
    from metarl.commands.run import Run

    agent = Run.of({**NAVIGATION, "trpo.fisher_fraction": 0.2}, agent="maml").make().learn(1)
    seconds = []
    for _ in range(ITERATIONS):
        started = perf_counter()
        outer_step(agent, report=False)
        seconds.append(perf_counter() - started)
    print(median(seconds))


if sys.argv[1:] == ["work"]:
    work()
    sys.exit()
rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 2
kept = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
for others in (0, OTHERS):
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(others)]
    try:
        found: dict[str, list[float]] = {name: [] for name in WAYS}
        for _ in range(rounds):
            for name, changes in WAYS.items():
                env = {**os.environ, **kept, **changes}
                done = subprocess.run([sys.executable, __file__, "work"], env=env, capture_output=True, text=True, check=True)
                found[name].append(float(done.stdout))
    finally:
        for process in busy:
            process.kill()
    print(f"beside {others} busy processes, seconds of an iteration by round:")
    for name, seconds in found.items():
        print(f"  {name:>14}: {' '.join(f'{one:.2f}' for one in seconds)}")
