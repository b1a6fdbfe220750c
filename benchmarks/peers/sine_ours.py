"""Our side of ``sine.py``: ``agent.learn`` with a compiled meta-gradient, a step or several to a call."""

import sys

import torch
from sine_data import INNER_RATE, episodes, parameters
from turns import Measures, seconds_of, serve

from metarl.commands.presets import PRESETS
from metarl.commands.run import Run
from metarl.outer.meta_gradient import meta_gradient
from metarl.tasks import Examples

STEPS = 1000


def prepare():
    """Compile, and take the meta-gradient that all sides take."""
    changes = {"gradient.clip_norm": None, "gradient.steps_per_call": int(sys.argv[1]), "rate": INNER_RATE}
    settings = {**PRESETS["sine"][1], **changes}
    agent = Run.of(settings, agent="maml").make()
    theta = torch.cat([torch.from_numpy(array).flatten() for array in parameters()])
    support_inputs, support_targets, query_inputs, query_targets = map(torch.from_numpy, episodes())
    support, query = Examples(support_inputs, support_targets), Examples(query_inputs, query_targets)
    loss, gradient = meta_gradient(agent.adapter, {**agent.meta, "theta": theta}, [support], query, len(query.targets))
    same = {"loss": float(loss), "norm of the meta-gradient": float(gradient["theta"].norm())}
    agent.learn(200, log_interval=200)

    def measure() -> Measures:
        return {"seconds": seconds_of(lambda: agent.learn(STEPS, log_interval=STEPS)) / STEPS, **same}

    return measure


serve(prepare)
