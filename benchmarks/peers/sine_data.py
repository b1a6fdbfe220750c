"""The sine protocol's numbers, and a meta-batch on which all take the same meta-gradient."""

import itertools
from typing import Any

import numpy as np

TASKS, SHOTS, QUERIES = 4, 5, 10
SIZES = (1, 40, 40, 1)
INNER_RATE, OUTER_RATE = 0.05, 1e-3
AMPLITUDE, PHASE, FREQUENCY, INPUT = (0.1, 5.0), (0.0, np.pi), (0.8, 1.2), (-5.0, 5.0)

Array = np.ndarray[Any, np.dtype[np.float32]]


def parameters() -> list[Array]:
    """Return weights, shape (outputs, inputs), and biases, shape (outputs,), from layer to layer."""
    shapes = [shape for i, o in itertools.pairwise(SIZES) for shape in ((o, i), (o,))]
    return [(0.3 * np.cos(np.arange(np.prod(shape)) + len(shape))).reshape(shape).astype(np.float32) for shape in shapes]


def episodes() -> tuple[Array, Array, Array, Array]:
    """Return support inputs and targets, and query inputs and targets, shape (tasks, examples, 1)."""
    arrays = []
    for examples in (SHOTS, QUERIES):
        inputs = np.linspace(*INPUT, TASKS * examples).reshape(examples, TASKS, 1).swapaxes(0, 1)
        task = np.arange(TASKS)[:, None, None]
        arrays += [inputs, (1 + task) * np.sin(inputs + 0.3 * task)]
    support_inputs, support_targets, query_inputs, query_targets = (array.astype(np.float32) for array in arrays)
    return support_inputs, support_targets, query_inputs, query_targets
