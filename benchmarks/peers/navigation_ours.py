"""Our side of ``navigation.py``: writes a batch that it sampled, and what its step on that is, then measures iterations."""

import sys
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

FRACTION, DATA = float(sys.argv[1]), sys.argv[2]


def policies_of(agent: Any, batch: Any) -> Any:
    """Return the policies of a step on a batch."""
    moving = {"theta": agent.meta["theta"].detach().clone().requires_grad_()}
    return trpo._Policies(agent.adapter, moving, agent.meta, batch)


def prepare():
    """Write the batch; let the parts be timed."""
    agent = Run.of({**NAVIGATION_PLAIN, "trpo.fisher_fraction": FRACTION}, agent="maml").make()
    assert set(agent.meta) == {"theta"}
    clock, tries, outer = Clock(), [], agent.outer
    _, batch = gather(agent, report=False)
    policies = policies_of(agent, batch)
    loss = policies.surrogate(policies.moving)
    gradient = torch.autograd.grad(loss, policies.moving["theta"])[0]
    # the product on all time-steps: a fraction would be drawn by each side's own generator
    whole = trpo.TRPO(damping=outer.damping)
    product = whole._fisher_product(policies, torch.Generator())
    direction, image = trpo.conjugate_gradient(product, gradient, outer.cg_iterations)
    step = direction * (2 * outer.max_kl / direction.dot(image)).sqrt()
    with torch.no_grad():
        after, kl = policies.surrogate_and_kl({"theta": policies.moving["theta"] - 0.1 * step})
    said = after, gradient.norm(), step.norm(), kl
    same = dict(zip(AGREE, map(float, said), strict=True))
    layout = agent.adapter.learner.layout
    arrays = {f"parameter {name}": value.numpy() for name, value in layout.unflatten(agent.meta["theta"]).items()}
    for phase, samples in (("support", batch.experiences[0]), ("query", batch.query)):
        for name in ("observations", "actions", "rewards"):
            arrays[f"{phase} {name}"] = samples.by_trajectory(getattr(samples, name)).numpy()
        arrays[f"{phase} happened"] = samples.by_trajectory(samples.happened).numpy()
    options = {"max_kl": outer.max_kl, "damping": outer.damping, "backtrack": outer.backtrack, "rate": NAVIGATION_PLAIN["rate"]}
    np.savez(DATA, **arrays, **options)

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
