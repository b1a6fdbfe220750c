"""Our side of ``images.py``."""

import torch
from images_data import INNER_RATE, SIDE, TASKS, WAYS, episodes, parameter
from torch.nn.functional import cross_entropy
from turns import Measures, seconds_of, serve

from metarl.adapters import GradientAdapter
from metarl.learner import Learner
from metarl.outer.at_once import fitting_tasks
from metarl.outer.meta_gradient import meta_gradient
from metarl.problems import SupervisedProblem
from metarl.rules import GradientDescent
from metarl.supervised.networks import conv4
from metarl.tasks import Examples


def prepare():
    """Take the meta-gradient once: the first has new memory."""
    support_images, support_labels, query_images, query_labels = episodes()
    support, query = Examples(support_images, support_labels), Examples(query_images, query_labels)
    network = conv4((1, SIDE, SIDE), WAYS)
    with torch.no_grad():
        for index, value in enumerate(network.parameters()):
            value.copy_(parameter(index, value.shape))
    learner = Learner(network)
    rule = GradientDescent(learner.layout, rate=INNER_RATE)
    adapter = GradientAdapter(SupervisedProblem(cross_entropy), learner, rule, steps=1)
    meta = adapter.initial_meta(network, rule)
    together = fitting_tasks(adapter, meta, [support], query, TASKS)

    def gradient():
        return meta_gradient(adapter, meta, [support], query, TASKS, tasks_at_once=together)

    loss, gradients = gradient()
    same = {"loss": float(loss), "norm of the meta-gradient": float(gradients["theta"].norm())}

    def measure() -> Measures:
        return {"seconds": seconds_of(gradient), **same}

    return measure


serve(prepare)
