"""Our side of ``navigation.py``: writes a batch that it sampled, and what its step on that is, then measures iterations."""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from navigation_names import AGREE
from turns import Measures, seconds_of, serve

from metarl.agents.training import gather, outer_step
from metarl.clock import Clock
from metarl.commands.presets.navigation import NAVIGATION_PLAIN
from metarl.commands.run import Run
from metarl.outer import trpo

FRACTION, DATA, WAY = float(sys.argv[1]), sys.argv[2], sys.argv[3]


def prepare():
    """Write the batch; let the parts be timed."""
    options = {"fisher_fraction": FRACTION, "compile": WAY != "eager", "fisher_bfloat16": WAY == "bfloat16"}
    agent = Run.of({**NAVIGATION_PLAIN, **{f"trpo.{name}": value for name, value in options.items()}}, agent="maml").make()
    assert set(agent.meta) == {"theta"}
    clock, tries, outer = Clock(), [], agent.outer
    _, batch = gather(agent, report=False)
    policies = trpo._Policies.of(agent.adapter, agent.meta, batch)
    moving = {"theta": agent.meta["theta"].detach()}
    gradient = outer._gradient(policies, moving)[0]["theta"]
    # the product on all time-steps: a fraction would be drawn by each side's own generator
    product = replace(outer, fisher_fraction=1.0)._fisher_product(policies, moving, torch.Generator())
    direction, image = trpo.conjugate_gradient(product, gradient, outer.cg_iterations)
    step = direction * (2 * outer.max_kl / direction.dot(image)).sqrt()
    with torch.no_grad():
        after, kl = outer._surrogate_and_kl(policies, {"theta": moving["theta"] - 0.1 * step})
    said = after, gradient.norm(), step.norm(), kl
    same = dict(zip(AGREE, map(float, said), strict=True))
    layout = agent.adapter.learner.layout
    arrays = {f"parameter {name}": value.numpy() for name, value in layout.unflatten(agent.meta["theta"]).items()}
    for phase, samples in (("support", batch.experiences[0]), ("query", batch.query)):
        for name in ("observations", "actions", "rewards"):
            arrays[f"{phase} {name}"] = samples.by_trajectory(getattr(samples, name)).numpy()
        arrays[f"{phase} happened"] = samples.by_trajectory(samples.happened).numpy()
    told = {"max_kl": outer.max_kl, "damping": outer.damping, "backtrack": outer.backtrack, "rate": NAVIGATION_PLAIN["rate"]}
    if WAY == "eager":
        np.savez(DATA, **arrays, **told, step=step.numpy())
    theirs = torch.from_numpy(np.load(DATA)["step"])
    same["off"] = float((step - theirs).norm() / theirs.norm())

    conjugate, search = trpo.conjugate_gradient, trpo.TRPO._line_search
    fisher = trpo.TRPO._fisher_product

    def timed(part: str, function: Any) -> Any:
        def call(*args: Any) -> Any:
            with clock(part):
                return function(*args)

        return call

    def searched(*args: Any) -> Any:
        with clock("line search"):
            result = search(*args)
        tries.append(result[1])
        return result

    trpo.conjugate_gradient = timed("products", conjugate)
    trpo.TRPO._fisher_product = timed("products", fisher)
    trpo.TRPO._line_search = searched

    def iterate() -> None:
        outer_step(agent, report=False)

    iterate()

    def measure() -> Measures:
        clock.read(), agent.adapter.clock.read(), tries.clear()
        seconds = seconds_of(iterate, 3.0)
        count = len(tries)
        parts = {name: total / count for name, total in (clock.read() | agent.adapter.clock.read()).items()}
        rest = seconds - parts["sampling"] - parts["products"] - parts["line search"]
        return {"seconds": seconds, **parts, "gradient": rest, "tries": sum(tries) / count, **same}

    return measure


serve(prepare)
