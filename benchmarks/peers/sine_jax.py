"""JAX's side of ``sine.py``: a jitted step that draws its tasks, or a scan of such steps."""

import sys

import jax
import jax.numpy as jnp
import sine_data
from jax import lax, random
from sine_data import INNER_RATE, OUTER_RATE, QUERIES, SHOTS, TASKS
from turns import Measures, seconds_of, serve

STEPS = 1000
A_CALL = int(sys.argv[1])
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def regress(layers, inputs):
    """Return the regressor's outputs for inputs of shape (examples, 1)."""
    *hidden, last = zip(layers[::2], layers[1::2], strict=True)
    for weight, bias in hidden:
        inputs = jax.nn.relu(inputs @ weight.T + bias)
    return inputs @ last[0].T + last[1]


def squared_error(layers, inputs, targets):
    """Return the mean squared error."""
    return jnp.mean((regress(layers, inputs) - targets) ** 2)


def task_loss(layers, support_inputs, support_targets, query_inputs, query_targets):
    """Return one task's query loss after a step of gradient descent on its support loss."""
    gradients = jax.grad(squared_error)(layers, support_inputs, support_targets)
    adapted = [value - INNER_RATE * gradient for value, gradient in zip(layers, gradients, strict=True)]
    return squared_error(adapted, query_inputs, query_targets)


def meta_loss(layers, *episodes):
    """Return the mean of all tasks' query losses."""
    return jax.vmap(task_loss, (None, 0, 0, 0, 0))(layers, *episodes).mean()


def draw(key):
    """Return a meta-batch of new tasks."""
    of_tasks, of_inputs = random.split(key)
    low, high = jnp.array([sine_data.AMPLITUDE, sine_data.PHASE, sine_data.FREQUENCY], jnp.float32).T
    amplitude, phase, frequency = random.uniform(of_tasks, (TASKS, 1, 1, 3), minval=low, maxval=high).transpose(3, 0, 1, 2)
    inputs = random.uniform(of_inputs, (TASKS, SHOTS + QUERIES, 1), minval=sine_data.INPUT[0], maxval=sine_data.INPUT[1])
    targets = amplitude * jnp.sin(frequency * inputs + phase)
    return inputs[:, :SHOTS], targets[:, :SHOTS], inputs[:, SHOTS:], targets[:, SHOTS:]


def step(state, _=None):
    """Take a step of Adam on new tasks; return the state after it, and the loss before."""
    layers, first, second, count, key = state
    key, now = random.split(key)
    loss, gradients = jax.value_and_grad(meta_loss)(layers, *draw(now))
    count = count + 1
    first = [BETA_1 * old + (1 - BETA_1) * new for old, new in zip(first, gradients, strict=True)]
    second = [BETA_2 * old + (1 - BETA_2) * new**2 for old, new in zip(second, gradients, strict=True)]
    scales = 1 - BETA_1**count, 1 - BETA_2**count
    layers = [
        value - OUTER_RATE * (mean / scales[0]) / (jnp.sqrt(square / scales[1]) + EPSILON)
        for value, mean, square in zip(layers, first, second, strict=True)
    ]
    return (layers, first, second, count, key), loss


def prepare():
    """Compile, and take the meta-gradient that all sides take."""
    layers = [jnp.asarray(array) for array in sine_data.parameters()]
    loss, gradients = jax.jit(jax.value_and_grad(meta_loss))(layers, *map(jnp.asarray, sine_data.episodes()))
    norm = jnp.sqrt(sum(jnp.sum(gradient**2) for gradient in gradients))
    same = {"loss": float(loss), "norm of the meta-gradient": float(norm)}
    several = jax.jit(step if A_CALL == 1 else lambda state: lax.scan(step, state, length=A_CALL), donate_argnums=0)
    zeros = [[jnp.zeros_like(value) for value in layers] for _ in range(2)]
    state, _ = several((layers, *zeros, jnp.zeros(()), random.key(0)))

    def measure() -> Measures:
        def run() -> None:
            nonlocal state
            for _ in range(STEPS // A_CALL):
                state, _ = several(state)
            jax.block_until_ready(state)

        return {"seconds": seconds_of(run) / STEPS, **same}

    return measure


serve(prepare)
