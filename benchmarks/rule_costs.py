"""python benchmarks/rule_costs.py [sine navigation conv4]: what learned rules cost beside second-order MAML, in one run.

Seconds of a meta-iteration at equal T (median, the rules in turn) and its operations: multiplications and additions of matrix
products and convolutions, and one for every number that any other operation writes. The bar: a ratio of seconds at most twice
the ratio of operations.
"""

import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from operations import Operations
from torch.nn.functional import cross_entropy

from metarl.adapters import GradientAdapter
from metarl.commands.presets import PRESETS
from metarl.commands.run import Run
from metarl.learner import Learner
from metarl.outer import GradientDescent
from metarl.problems import SupervisedProblem
from metarl.rules import TURTLE, MetaLSTM, UpdateRule
from metarl.rules import GradientDescent as Descent
from metarl.supervised.networks import conv4
from metarl.tasks import Episodes, Examples

AGENTS = {"MAML": "maml", "TURTLE": "turtle", "LSTM2": "meta-lstm-2"}
NEVER = 10**9
REPEATS = {"sine": 30, "navigation": 5, "conv4": 3}


def sine(name: str) -> Callable[[], Any]:
    """Return one meta-iteration on TURTLE's tasks without its clips: T = 5, 2 tasks."""
    changes = {"gradient.compile": "--compile" in sys.argv, "gradient.clip_task": None, "inner_clip": None}
    rate = 0.01 if name == "MAML" else None
    run = Run.of({**PRESETS["turtle-sine-5"][1], **changes}, agent=AGENTS[name], rate=rate)
    return partial(run.make().learn, 1, log_interval=NEVER)


def navigation(name: str) -> Callable[[], Any]:
    """Return one TRPO meta-iteration of ``navigation-best``: T = 1, 20 tasks, Fisher products on a fifth of the time-steps."""
    agent = Run.of(PRESETS["navigation-best"][1], agent=AGENTS[name]).make()
    return partial(agent.learn, 1, log_interval=NEVER)


def conv4_images(name: str) -> Callable[[], Any]:
    """Return one meta-gradient on random 84x84 images: 5-way 1-shot, 15 queries a class, T = 5, 2 tasks."""
    network = conv4((3, 84, 84), 5)
    learner = Learner(network)
    rule: UpdateRule = {
        "MAML": lambda: Descent(learner.layout, rate=0.01),
        "TURTLE": lambda: TURTLE(learner.layout, inputs=("gradient", "gradient-history", "time"), steps=5),
        "LSTM2": lambda: MetaLSTM(learner.layout, preprocess=False),
    }[name]()
    adapter = GradientAdapter(SupervisedProblem(cross_entropy), learner, rule, steps=5)
    meta = adapter.initial_meta(network, rule)
    outer = GradientDescent()
    state = outer.init(adapter, meta, torch.Generator())
    labels = torch.arange(5).expand(2, -1)
    tasks = Episodes(
        Examples(torch.rand(2, 5, 3, 84, 84), labels), Examples(torch.rand(2, 75, 3, 84, 84), labels.repeat_interleave(15, 1))
    )
    return partial(outer.step, adapter, meta, state, tasks, torch.Generator(), report=False)


MAKE = {"sine": sine, "navigation": navigation, "conv4": conv4_images}
chosen = [name for name in sys.argv[1:] if not name.startswith("--")] or list(MAKE)
print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
print(f"{'':>12}{'':>8}{'seconds':>10}{'ratio':>8}{'products':>12}{'others':>12}{'ratio':>8}{'seconds / operations':>22}")
for problem in chosen:
    torch.manual_seed(0)
    steps = {name: MAKE[problem](name) for name in AGENTS}
    seconds: dict[str, list[float]] = {name: [] for name in AGENTS}
    for repeat in range(REPEATS[problem] + 1):
        for name, step in steps.items():
            started = perf_counter()
            step()
            if repeat:  # the first one warms up
                seconds[name].append(perf_counter() - started)
    base: tuple[float, float] | None = None
    for name, step in steps.items():
        if "--compile" in sys.argv:  # what the compiler made cannot be counted
            print(
                f"{problem:>12}{name:>8}{median(seconds[name]):>10.4f}{median(seconds[name]) / median(seconds['MAML']):>8.1f}"
            )
            continue
        with Operations() as counted:
            step()
        found = (median(seconds[name]), counted.products + counted.others)
        base = base or found
        time, work = found[0] / base[0], found[1] / base[1]
        print(
            f"{problem:>12}{name:>8}{found[0]:>10.4f}{time:>8.1f}{counted.products:>12.2e}{counted.others:>12.2e}"
            f"{work:>8.1f}{time / work:>22.2f}",
            flush=True,
        )
